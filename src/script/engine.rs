//! Runs a script: the Rhai engine with the verbs, its limits, and errors that point at their place.

use std::any::TypeId;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rhai::{ASTNode, Dynamic, Engine, EvalAltResult, Expr, FuncRegistration, Module, NativeCallContext, Position, RhaiFunc, Scope};

use crate::error::{Error, Kind, Result};
use crate::ms::{HistoryEntry, append_history};
use crate::notice::Reporter;
use crate::options::nearest;
use crate::run::record::Status;
use crate::run::{StepContext, Store, in_words};

use super::catalogue;
use super::cells::{Cell, cells};
use super::context::{Context, Event};
use super::value::{self, Record};
use super::verb::{Call, InputKind, Verb, Work};

/// An error with its place in a script.
#[derive(Debug, Clone)]
pub struct ScriptError {
    /// What is wrong.
    pub error: Error,
    /// File of the place.
    pub file: String,
    /// Line (1-based) and column.
    pub place: Option<(usize, usize)>,
    /// The source line.
    pub source_line: Option<String>,
}

impl std::fmt::Display for ScriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.error.message)?;
        if let Some(hint) = &self.error.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        if let Some((line, column)) = self.place {
            write!(f, "\n  --> {}:{line}:{column}", self.file)?;
            if let Some(text) = &self.source_line {
                let gutter = line.to_string().len();
                let caret = " ".repeat(column.saturating_sub(1));
                write!(f, "\n{:gutter$} |\n{line} | {text}\n{:gutter$} | {caret}^", "", "")?;
            }
        }
        if let Some(path) = &self.error.path {
            write!(f, "\n  data: {}", path.display())?;
        }
        Ok(())
    }
}

/// A script with its text and its cells.
#[derive(Debug, Clone)]
pub struct Script {
    /// Name shown in messages.
    pub file: String,
    /// The text.
    pub source: String,
    /// Its cells.
    pub cells: Vec<Cell>,
}

impl Script {
    /// A script from its text.
    pub fn new(file: &str, source: &str) -> Script {
        Script { file: file.to_string(), source: source.to_string(), cells: cells(source) }
    }

    /// Its title: the first heading of its first cell of Markdown.
    pub fn title(&self) -> Option<String> {
        let text = self.cells.iter().find(|c| c.markdown)?.markdown_text();
        text.lines().find_map(|l| l.strip_prefix("# ")).map(|t| t.trim().to_string())
    }

    /// The text with a statement in every marker line that tells the run which cell it is in; lines keep their numbers.
    fn instrumented(&self) -> String {
        let mut lines: Vec<String> = self.source.lines().map(str::to_string).collect();
        for (index, cell) in self.cells.iter().enumerate() {
            let marker_line = cell.first_line.checked_sub(2).and_then(|i| lines.get_mut(i));
            if let Some(line) = marker_line {
                line.insert_str(0, &format!("{CELL_VERB}({index}); "));
            }
        }
        lines.join("\n")
    }
}

const CELL_VERB: &str = "enter_cell__";

/// Runs a script; its value is that of its last expression.
pub fn run(script: &Script, context: &Arc<Context>) -> Result<Dynamic, ScriptError> {
    let engine = engine(context);
    let ast = compile(&engine, script)?;
    context.given.check_names(&param_names(&ast)).map_err(|error| ScriptError {
        error,
        file: script.file.clone(),
        place: None,
        source_line: None,
    })?;
    let mut scope = Scope::new();
    engine.eval_ast_with_scope::<Dynamic>(&mut scope, &ast).map_err(|e| explain(&e, script, context))
}

/// Compiles a script without running it.
pub fn compile(engine: &Engine, script: &Script) -> Result<rhai::AST, ScriptError> {
    let parse_error = |e: rhai::ParseError| explain(&EvalAltResult::ErrorParsing(*e.0, e.1), script, &());
    let plain = engine.compile(&script.source).map_err(parse_error)?;
    // A marker inside an expression cannot carry a statement: the script still runs, as one cell.
    let mut ast = engine.compile(script.instrumented()).unwrap_or(plain);
    ast.set_source(&script.file);
    Ok(ast)
}

/// Names of the parameters of a script: every `param("name", ..)` in it.
pub fn param_names(ast: &rhai::AST) -> Vec<String> {
    let mut names: Vec<String> = vec![];
    ast.walk(&mut |path| {
        if let Some(ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(rhai::Stmt::FnCall(call, _))) = path.last() {
            if let ("param", Some(Expr::StringConstant(name, _))) = (call.name.as_str(), call.args.first()) {
                if !names.contains(&name.to_string()) {
                    names.push(name.to_string());
                }
            }
        }
        true
    });
    names
}

/// The engine with all verbs.
pub fn engine(context: &Arc<Context>) -> Engine {
    let mut engine = Engine::new();
    // Debug and release builds of Rhai have different limits: ours are the same in both.
    engine.set_max_expr_depths(128, 64).set_max_call_levels(64).set_max_modules(256).disable_symbol("eval");
    engine.set_module_resolver(ProjectModules { context: context.clone() });
    register_record(&mut engine);
    let mut module = Module::new();
    for verb in catalogue::all() {
        register(&mut module, verb, context);
    }
    let cells = context.clone();
    FuncRegistration::new(CELL_VERB).set_into_module(&mut module, move |index: i64| cells.enter_cell(index as usize));
    engine.register_global_module(module.into());
    let (printed, debugged) = (context.clone(), context.clone());
    engine.on_print(move |text| printed.print(text));
    engine.on_debug(move |text, _, _| debugged.print(text));
    let cancel = context.clone();
    engine.on_progress(move |_| cancel.cancelled().then_some(Dynamic::UNIT));
    engine
}

/// Records are read by name and printed by their summary.
fn register_record(engine: &mut Engine) {
    engine
        .register_type_with_name::<Record>("Record")
        .register_indexer_get(|r: &mut Record, name: &str| r.field(name).map_err(throw))
        .register_fn("to_string", |r: &mut Record| r.to_string())
        .register_fn("to_debug", |r: &mut Record| r.to_string())
        .register_fn("keys", |r: &mut Record| r.fields().map(|(n, _)| Dynamic::from(n.clone())).collect::<rhai::Array>())
        .register_fn("==", |a: Record, b: Record| a == b)
        .register_fn("!=", |a: Record, b: Record| a != b)
        .register_type_with_name::<Error>("Error")
        .register_get("message", |e: &mut Error| e.message.clone())
        .register_get("hint", |e: &mut Error| e.hint.clone().unwrap_or_default())
        .register_get("kind", |e: &mut Error| format!("{:?}", e.kind).to_lowercase())
        .register_fn("to_string", |e: &mut Error| e.message.clone());
}

fn throw(error: Error) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(error), Position::NONE))
}

/// Registers a verb once for each number of arguments that it takes.
fn register(module: &mut Module, verb: &'static Verb, context: &Arc<Context>) {
    let most = verb.inputs.len() + usize::from(verb.takes_options());
    for n in verb.n_required()..=most {
        let context = context.clone();
        let body = move |call: Option<NativeCallContext>, args: &mut [&mut Dynamic]| -> Result<Dynamic, Box<EvalAltResult>> {
            let line = call.and_then(|c| c.call_position().line());
            let args = args.iter().map(|a| value::from_dynamic(a)).collect::<Result<Vec<_>>>().map_err(throw)?;
            invoke(verb, args, &context, line).map(|v| value::to_dynamic(&v)).map_err(throw)
        };
        let mut names: Vec<String> =
            verb.inputs.iter().map(|i| i.name.to_string()).chain(std::iter::once("options".into())).take(n).collect();
        names.push("Dynamic".into());
        FuncRegistration::new(verb.name).with_params_info(names).with_comments([format!("/// {}", verb.summary)]).set_into_module_raw(
            module,
            vec![TypeId::of::<Dynamic>(); n],
            RhaiFunc::Method { func: Arc::new(body), has_context: true, is_pure: true, is_volatile: true },
        );
    }
}

/// One call of a verb: checked, then evaluated, or done as a step of the run.
fn invoke(verb: &'static Verb, args: Vec<serde_json::Value>, context: &Context, line: Option<usize>) -> Result<serde_json::Value> {
    context.check()?;
    let call = Call::new(verb, args, context)?;
    if !verb.effects.is_step() {
        return (verb.run)(&call, &Work { notice: context, step: None });
    }
    let step = call.step()?.at(Some(context.cell()), line);
    context.tell(Event::StepStarted(verb.name));
    let mut warned_now = false;
    let result = context.session.step(&step, context, |step| {
        warned_now = true;
        let value = (verb.run)(&call, &Work { notice: step, step: Some(step) })?;
        sign_products(&call, step)?;
        Ok(put_aside(value, context.session.store()))
    });
    let status = result.as_ref().map_or(Status::Run, |r| r.status);
    let because = result.as_ref().map_or(vec![], |r| in_words(&r.because));
    context.tell(Event::StepEnded { verb: verb.name, status, because });
    let result = result?;
    if !warned_now {
        result.warnings.iter().for_each(|w| context.tell(Event::Warning(w.clone())));
    }
    Ok(result.value)
}

/// Writes run and key of the step into the HISTORY of the sets that it made, which is outside their hash; verbs that write FITS
/// do so themselves.
fn sign_products(call: &Call, step: &StepContext) -> Result<()> {
    let outputs = call.verb.inputs.iter().enumerate().filter(|(i, input)| input.kind == InputKind::FileOut && !call.args[*i].is_null());
    for (i, _) in outputs {
        let path = call.path_out(i)?;
        for set in crate::ms::sets_below(&path) {
            let entry = HistoryEntry { verb: call.verb.name.to_string(), message: step.history().to_string(), options: vec![] };
            append_history(&set, &entry)?;
        }
    }
    Ok(())
}

/// Moves what only figures need (`$figure`) into the store, so that the record stays short.
fn put_aside(mut value: serde_json::Value, store: &Store) -> serde_json::Value {
    match &mut value {
        serde_json::Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                if name != "$figure" {
                    *field = put_aside(field.take(), store);
                } else if let Ok(hash) = store.put(field.to_string().as_bytes()) {
                    *field = serde_json::json!({ "$stored": hash.to_string() });
                } // without a store the data stay in the value
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| *item = put_aside(item.take(), store)),
        _ => {}
    }
    value
}

/// Finds imported modules inside the project only.
struct ProjectModules {
    context: Arc<Context>,
}

impl rhai::ModuleResolver for ProjectModules {
    fn resolve(
        &self,
        engine: &Engine,
        _source: Option<&str>,
        path: &str,
        pos: Position,
    ) -> Result<rhai::Shared<Module>, Box<EvalAltResult>> {
        let fail = |e: Error| Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(e), pos));
        let file = self.context.sandbox.readable(&format!("{path}.rhai")).map_err(fail)?;
        self.context.session.module(&file, self.context.as_ref()).map_err(fail)?;
        let source = std::fs::read_to_string(&file).map_err(|e| fail(Error::io(&format!("import \"{path}\""), &file, e)))?;
        let mut ast = engine.compile(source).map_err(|e| Box::new(EvalAltResult::ErrorInModule(path.into(), e.into(), pos)))?;
        ast.set_source(file.display().to_string());
        Module::eval_ast_as_new(Scope::new(), &ast, engine)
            .map(Into::into)
            .map_err(|e| Box::new(EvalAltResult::ErrorInModule(path.into(), e, pos)))
    }
}

/// Lets [`explain`] read the source of imported modules; `()` reads none.
trait Sources {
    fn source(&self, file: &str) -> Option<String>;
}
impl Sources for () {
    fn source(&self, _file: &str) -> Option<String> {
        None
    }
}
impl Sources for Arc<Context> {
    fn source(&self, file: &str) -> Option<String> {
        let path: PathBuf = self.sandbox.readable(file).ok()?;
        std::fs::read_to_string(path).ok()
    }
}

/// An engine error in the words of this program, with its place.
fn explain(error: &EvalAltResult, script: &Script, sources: &impl Sources) -> ScriptError {
    let (mut inner, mut file, mut outer_place) = (error, script.file.clone(), error.position());
    loop {
        match inner {
            EvalAltResult::ErrorInFunctionCall(_, source, next, _) => {
                if !source.is_empty() {
                    file = source.clone();
                }
                inner = next;
            }
            EvalAltResult::ErrorInModule(_, next, _) => inner = next,
            _ => break,
        }
        if !inner.position().is_none() {
            outer_place = inner.position();
        }
    }
    let text = if file == script.file { Some(script.source.clone()) } else { sources.source(&file) };
    let place = outer_place.line().map(|line| (line, outer_place.position().unwrap_or(1)));
    let source_line = place.and_then(|(line, _)| text.as_ref()?.lines().nth(line - 1).map(str::to_string));
    ScriptError { error: in_our_words(inner), file, place, source_line }
}

fn in_our_words(error: &EvalAltResult) -> Error {
    match error {
        EvalAltResult::ErrorRuntime(token, _) => {
            if let Some(error) = token.read_lock::<Error>() {
                return error.clone();
            }
            Error::user(token.to_string())
        }
        EvalAltResult::ErrorTerminated(..) => Error::interrupted(),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => unknown_function(signature),
        EvalAltResult::ErrorVariableNotFound(name, _) => Error::user(format!("there is no variable `{name}` here"))
            .hint("script functions see no outer variables: pass what they need as arguments"),
        EvalAltResult::ErrorParsing(kind, _) => Error::user(format!("the script does not parse: {kind}")),
        EvalAltResult::ErrorPropertyNotFound(name, _) => Error::user(format!("the map has no key `{name}`")),
        other => {
            let mut other = other.to_string();
            if let Some(end) = other.rfind(" (line ") {
                other.truncate(end);
            }
            Error::user(other)
        }
    }
}

/// `cleen(x)` or a verb with a wrong number of arguments.
fn unknown_function(signature: &str) -> Error {
    let name = signature.split([' ', '(']).next().unwrap_or(signature);
    if let Some(verb) = catalogue::all().find(|v| v.name == name) {
        let given =
            signature.split_once('(').map_or(0, |(_, args)| args.trim_end_matches(')').split(',').filter(|a| !a.trim().is_empty()).count());
        return Error::user(format!("`{name}` cannot be called with {given} argument{}", if given == 1 { "" } else { "s" })).hint(format!(
            "{}: {}",
            verb.signature(),
            verb.summary
        ));
    }
    match nearest(name, catalogue::all().map(|v| v.name)) {
        Some(_) => catalogue::find(name).err().unwrap_or_else(|| Error::user(signature)),
        None => Error::user(format!("there is no function {signature}")).hint("`phangs-script verbs` lists the verbs"),
    }
}

/// True if an error came from the user stopping the run.
pub fn is_interrupt(error: &ScriptError) -> bool {
    error.error.kind == Kind::Interrupted
}

/// Reads a script file.
pub fn read(path: &Path, shown: &str) -> Result<Script> {
    let source = std::fs::read_to_string(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidData => Error::user("the script is not UTF-8 text").at(path),
        _ => Error::io("read the script", path, e),
    })?;
    Ok(Script::new(shown, &source))
}
