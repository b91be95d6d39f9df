//! Verbs that speak to the run: parameters, printing, assertions.

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::options::Options;
use crate::run::record::Parameter;
use crate::script::params::ParamOptions;
use crate::script::value::{Record, to_dynamic};
use crate::script::verb::{Call, Effects, Example, Input, InputKind, Verb, Work, check_options, defaults};

/// The verbs of this group.
pub static VERBS: &[&Verb] = &[&PARAM, &PRINT, &ASSERT, &FILE_NAME];

static PARAM: Verb = Verb {
    name: "param",
    group: "Run",
    summary: "Declares a parameter of the script and returns its value.",
    details: "The value is the default or what the command line gave with `-p name=value` or `--params file.toml`; its type follows the \
              default. A default `[]` takes comma lists, globs and a repeated `-p`.",
    inputs: &[
        Input::new("name", InputKind::Text, "Name on the command line."),
        Input::new("default", InputKind::Any, "Value where the user gives none; its type is the type of the parameter."),
    ],
    options: &[ParamOptions::PARAMS],
    defaults: defaults::<ParamOptions>,
    returns: "The value.",
    effects: Effects::Run,
    examples: &[Example {
        title: "The default is what a script gets when nothing was given.",
        script: "param(\"npix\", 512, #{ min: 32 })",
        result: "512",
        tolerance: 0.0,
    }],
    check: check_options::<ParamOptions>,
    run: param,
    ..Verb::EMPTY
};

fn param(call: &Call, _: &Work) -> Result<Value> {
    let (name, options) = (call.text(0)?.to_string(), call.options::<ParamOptions>()?);
    let mut value = call.context.given.value(&name, &call.args[1], &options)?;
    // `-p plots=` wins over `--out`, and `--out` over the script
    if let Some(out) = call.context.out.as_ref().filter(|_| name == "plots" && !call.context.given.has(&name)) {
        value = call.context.sandbox.show(out).into();
    }
    let given = value != call.args[1];
    if given && options.path.is_some() {
        for path in paths_of(&value) {
            let path = std::path::Path::new(path.split_once('#').map_or(path, |(p, _)| p));
            match options.path.as_deref() {
                Some("out") => call.context.sandbox.declare_write(path),
                // A text that names no file opens nothing.
                Some("in?") if !path.is_absolute() => {}
                Some("prefix") if path.is_dir() || path.as_os_str().to_string_lossy().ends_with('/') => {
                    let hint = format!("give the beginning of names, such as {}", path.join("name").display());
                    return Err(Error::user(format!("`{name}` is a folder; expected the beginning of names of files")).hint(hint).at(path));
                }
                Some("prefix") => call.context.sandbox.declare_prefix(path),
                _ => call.context.sandbox.declare_read(path),
            }
        }
    }
    if name == "plots" {
        if let Some(text) = value.as_str() {
            call.context.session.set_plots(call.context.sandbox.writable(text)?);
        }
    }
    call.context.session.parameter(Parameter {
        name,
        value: value.clone(),
        default: call.args[1].clone(),
        unit: options.unit,
        help: options.help,
        given,
    });
    Ok(value)
}

fn paths_of(value: &Value) -> Vec<&str> {
    match value {
        Value::String(s) => vec![s],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    }
}

static PRINT: Verb = Verb {
    name: "print",
    group: "Run",
    summary: "Prints a value on the terminal and into the report.",
    inputs: &[Input::new("value", InputKind::Any, "What to print.")],
    returns: "Nothing.",
    effects: Effects::Run,
    examples: &[Example {
        title: "Numbers and text are printed as they are.",
        script: "print(`beam ${0.1 * 2.0} arcsec`)",
        result: "",
        tolerance: 0.0,
    }],
    // Rhai hands what this returns to `on_print`.
    run: |call, _| Ok(shown(&call.args[0]).into()),
    ..Verb::EMPTY
};

/// A value as `print` shows it.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        other => {
            let dynamic = to_dynamic(other);
            dynamic.read_lock::<Record>().map(|r| r.to_string()).unwrap_or_else(|| dynamic.to_string())
        }
    }
}

static ASSERT: Verb = Verb {
    name: "assert",
    group: "Run",
    summary: "Stops the script with exit code 4 if a condition does not hold.",
    inputs: &[
        Input::new("condition", InputKind::Bool, "What must hold."),
        Input::new("message", InputKind::Text, "What is wrong if it does not, with numbers and units."),
    ],
    returns: "Nothing.",
    effects: Effects::Run,
    examples: &[
        Example { title: "A condition that holds says nothing.", script: "assert(1 < 2, \"arithmetic\")", result: "", tolerance: 0.0 },
        Example {
            title: "One that does not stops the script.",
            script: "assert(4.1 < 3.0, \"LB2 is 4.1 sigma off after the shift, limit 3\")",
            result: "error: LB2 is 4.1 sigma off after the shift, limit 3",
            tolerance: 0.0,
        },
    ],
    run: |call, _| match call.args[0] {
        Value::Bool(true) => Ok(Value::Null),
        _ => Err(Error::check(call.text(1)?)),
    },
    ..Verb::EMPTY
};

static FILE_NAME: Verb = Verb {
    name: "file_name",
    group: "Run",
    summary: "Returns the last part of a path, without the given ending.",
    inputs: &[
        Input::new("path", InputKind::Text, "A path."),
        Input::optional("ending", InputKind::Text, "Ending to leave out, for example `.ms`."),
    ],
    returns: "Text.",
    effects: Effects::Glue,
    examples: &[Example {
        title: "The name of a block from its path.",
        script: "file_name(\"data/LB1.ms\", \".ms\")",
        result: "LB1",
        tolerance: 0.0,
    }],
    run: |call, _| {
        let name = call.text(0)?.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let ending = call.args[1].as_str().unwrap_or("");
        Ok(json!(name.strip_suffix(ending).unwrap_or(name)))
    },
    ..Verb::EMPTY
};
