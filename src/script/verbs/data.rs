//! What is in a set, and making new ones: summary, blocks, shift, concat.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::data::VisSource;
use crate::error::{Error, Result};
use crate::ms::atomic::refuse_existing;
use crate::ms::concat::{ConcatOptions, concat};
use crate::ms::select::Selection;
use crate::ms::summary;
use crate::ms::{MeasurementSet, ShiftOptions, shift, split_block};
use crate::notice::Reporter;
use crate::options::Options;
use crate::script::value::record;
use crate::script::verb::{Call, Columns, Effects, Example, Input, InputKind, Verb, Work, check_options, defaults};
use crate::units::MAS;

use super::align::{Measured, position};
use super::sets::SetArg;

/// The verbs of this group.
pub static VERBS: &[&Verb] = &[&SUMMARY, &BLOCKS, &BLOCK_NAME, &NAMED_BLOCK, &PHASE_CENTER, &SHIFT, &CONCAT];

static SUMMARY: Verb = Verb {
    name: "summary",
    group: "Data",
    summary: "Tells what is in a set: observation, fields, windows, antennas, scans, baselines, flagged fraction, sizes.",
    inputs: &[Input::new("ms", InputKind::Ms, "The set.")],
    returns: "Summary: printed as a listing; fields `name`, `telescopes`, `time_s` (MJD s), `n_rows`, `bytes`, `integration_s`, `flagged_fraction`, \
              `fields`, `spws` (`freq_hz`), `scans`, `blocks`, `antennas`, `n_baselines`, `baseline_m`",
    effects: Effects::Reads,
    columns: Columns::Flags,
    examples: &[Example {
        title: "Rows of a simulated set: 10 baselines, 3 integrations, 2 windows.",
        script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 5, integrations: 3 });\nsummary(s.long[0]).n_rows",
        result: "60",
        tolerance: 0.0,
    }],
    run: |call, work| {
        let summary = summary(&SetArg::new(call.context, &call.args[0])?.open()?, work.notice)?;
        record("Summary", summary.text(), &summary)
    },
    ..Verb::EMPTY
};

static BLOCKS: Verb = Verb {
    name: "blocks",
    group: "Data",
    summary: "Lists the execution blocks inside a set.",
    details: "By OBSERVATION_ID where it tells them apart in time, else by gaps longer than `block_gap`. Each is named `set.ms#k` in calls.",
    inputs: &[Input::new("ms", InputKind::Ms, "The set.")],
    options: &[Selection::PARAMS],
    defaults: defaults::<Selection>,
    returns: "A list: `ms` (for other verbs), `name`, `time_s` (MJD s), `n_rows`, `scans`, `fields`",
    effects: Effects::Reads,
    columns: Columns::Rows,
    examples: &[Example {
        title: "A simulated set is one block.",
        script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 5, integrations: 3 });\nblocks(s.long[0]).len()",
        result: "1",
        tolerance: 0.0,
    }],
    check: check_options::<Selection>,
    run: |call, _| {
        let set = SetArg::new(call.context, &call.args[0])?;
        let gap_s = call.options::<Selection>()?.block_gap.0;
        let opened = set.open()?;
        let blocks = crate::ms::blocks(&opened, gap_s);
        let single = blocks.len() == 1;
        let path = set.text.split_once('#').map_or(set.text.as_str(), |(path, _)| path);
        let list = blocks.iter().enumerate().map(|(i, b)| {
            json!({ "ms": if single { path.to_string() } else { format!("{path}#{i}") }, "name": b.name, "time_s": b.time_s, "n_rows": b.n_rows,
                    "scans": b.scans, "fields": b.fields })
        });
        Ok(Value::Array(list.collect()))
    },
    ..Verb::EMPTY
};

static BLOCK_NAME: Verb = Verb {
    name: "block_name",
    group: "Data",
    summary: "Returns the name of a block: the set's file name without folder and `.ms`.",
    inputs: &[Input::new("ms", InputKind::Ms, "A set, or a block of one.")],
    returns: "Text.",
    effects: Effects::Glue,
    examples: &[Example {
        title: "One block of a set keeps its number.",
        script: "block_name(\"data/a.ms#1\")",
        result: "a#1",
        tolerance: 0.0,
    }],
    run: |call, _| Ok(SetArg::new(call.context, &call.args[0])?.name().into()),
    ..Verb::EMPTY
};

static NAMED_BLOCK: Verb = Verb {
    name: "named_block",
    group: "Data",
    summary: "Finds the block of a name in a list.",
    inputs: &[
        Input::new("blocks", InputKind::MsList, "Sets, or blocks of sets."),
        Input::new("name", InputKind::Text, "Name of the block."),
    ],
    returns: "The set, as it was given.",
    effects: Effects::Glue,
    examples: &[
        Example {
            title: "By name.",
            script: "named_block([\"data/LB1.ms\", \"data/LB2.ms\"], \"LB2\")",
            result: "data/LB2.ms",
            tolerance: 0.0,
        },
        Example {
            title: "A wrong name says which there are.",
            script: "named_block([\"data/LB1.ms\", \"data/LB2.ms\"], \"LB3\")",
            result: "error: no block is named \"LB3\"",
            tolerance: 0.0,
        },
    ],
    run: |call, _| {
        let sets = SetArg::list(call.context, call.list(0))?;
        Ok(call.list(0)[position(&sets, call.text(1)?)?].clone())
    },
    ..Verb::EMPTY
};

static PHASE_CENTER: Verb = Verb {
    name: "phase_center",
    group: "Data",
    summary: "Returns the phase center of a set's field in its own frame.",
    inputs: &[Input::new("ms", InputKind::Ms, "The set.")],
    options: &[Selection::PARAMS],
    defaults: defaults::<Selection>,
    returns: "Direction: `ra_rad`, `dec_rad`, `frame`; for the option `relabel_to` of `shift`",
    effects: Effects::Reads,
    columns: Columns::Rows,
    names: false,
    examples: &[Example {
        title: "The frame of a simulated set.",
        script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 5, integrations: 3 });\nphase_center(s.long[0]).frame",
        result: "J2000",
        tolerance: 0.0,
    }],
    check: check_options::<Selection>,
    run: |call, _| {
        let selected = SetArg::new(call.context, &call.args[0])?.select(&call.options::<Selection>()?)?;
        let center = selected.phase_center();
        record("Direction", center.to_string(), center)
    },
    ..Verb::EMPTY
};

static SHIFT: Verb = Verb {
    name: "shift",
    group: "Data",
    summary: "Writes a copy of a set whose phase center is moved by an offset, and labels it anew.",
    details: "The new center is the own one plus (ΔRA/cos δ, ΔDec): a block whose source lies at an offset has it in the center afterwards. UVW is \
              rotated rigorously and every column of visibilities multiplied by exp(−2πi (w' − w) ν/c); FIELD and SOURCE are then labelled with \
              `relabel_to`, converted into their own frame. The input is never touched.",
    inputs: &[
        Input::new("ms", InputKind::Ms, "The set."),
        Input::new("offset", InputKind::Any, "An Offset from a fit, or a map #{ dra_mas, ddec_mas }; positive east and north."),
        Input::new("out", InputKind::FileOut, "The set to make."),
    ],
    options: &[ShiftOptions::PARAMS],
    defaults: defaults::<ShiftOptions>,
    returns: "MeasurementSet: `path`, `name`",
    effects: Effects::Writes,
    names: false,
    examples: &[
        Example {
            title: "After the shift nothing is left to shift.",
            script: "let s = simulate(\"demo\", #{ long: 2, short: 0 });\nlet o = find_offset(s.long[0], s.long[1], #{ spw: 0 });\n\
                     let moved = shift(s.long[1], o, \"LB2_shift.ms\", #{ relabel_to: phase_center(s.long[0]) });\n\
                     find_offset(s.long[0], moved, #{ spw: 0 }).offset.length_mas < 0.5 * o.sigma.length_mas",
            result: "true",
            tolerance: 0.0,
        },
        Example {
            title: "A number is no offset.",
            script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 5, integrations: 3 });\nshift(s.long[0], 3.0, \"x.ms\")",
            result: "error: `shift`: `offset` must be an Offset or a map #{ dra_mas, ddec_mas }, not the number 3",
            tolerance: 0.0,
        },
    ],
    see: "CASA phaseshift; docs/conventions.md#offsets",
    check: check_options::<ShiftOptions>,
    run: run_shift,
    ..Verb::EMPTY
};

fn run_shift(call: &Call, work: &Work) -> Result<Value> {
    let set = SetArg::new(call.context, &call.args[0])?;
    let offset_rad = offset_of(call, &call.args[1])?;
    let out = call.path_out(2)?;
    let path = shift_set(&set, offset_rad, &out, &call.options::<ShiftOptions>()?, work.notice)?;
    set_record(call, &path)
}

/// Shifts a set, or one block of a set, which then becomes a set of its own.
pub fn shift_set(set: &SetArg, offset_rad: (f64, f64), out: &Path, options: &ShiftOptions, notice: &dyn Reporter) -> Result<PathBuf> {
    let Some(block) = set.block else { return shift(&set.open()?, offset_rad, out, options, notice) };
    refuse_existing(out)?;
    let parent = out.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|e| Error::io("create the folder of the output", parent, e))?;
    let name = out.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = tempfile::Builder::new().prefix(&format!(".{name}.unfinished-{}-", std::process::id())).tempdir_in(parent);
    let temporary = temporary.map_err(|e| Error::io("create the output", parent, e))?;
    let part = split_block(&set.open()?, block, &temporary.path().join(format!("{}.ms", set.name())), notice)?;
    shift(&MeasurementSet::open(&part)?, offset_rad, out, options, notice)
}

/// An offset in rad from a fit or a map; a block that is not aligned has none.
fn offset_of(call: &Call, value: &Value) -> Result<(f64, f64)> {
    if let Ok(measured) = serde_json::from_value::<Measured>(value.clone()) {
        return match measured.offset {
            Some(o) => Ok((o.dra_mas * MAS, o.ddec_mas * MAS)),
            None => {
                Err(Error::data(format!("{} is not aligned, so there is no offset to shift it by: {}", measured.block, measured.reason))
                    .hint("leave the block out, or give an offset of your own: #{ dra_mas: .., ddec_mas: .. }"))
            }
        };
    }
    let number = |name: &str| value.get(name).and_then(Value::as_f64);
    match (number("dra_mas"), number("ddec_mas")) {
        (Some(east), Some(north)) => Ok((east * MAS, north * MAS)),
        _ => Err(Error::user(format!(
            "`{}`: `offset` must be an Offset or a map #{{ dra_mas, ddec_mas }}, not {}",
            call.verb.name,
            crate::script::verb::describe(value)
        ))),
    }
}

/// A set that a verb made, as a value.
pub fn set_record(call: &Call, path: &std::path::Path) -> Result<Value> {
    let shown = call.context.sandbox.show(path);
    record("MeasurementSet", shown.clone(), json!({ "path": shown, "name": crate::ms::set_name(path) }))
}

static CONCAT: Verb = Verb {
    name: "concat",
    group: "Data",
    summary: "Joins sets into one, in the order of their times.",
    details: "Antennas, fields and windows are merged by name and within tolerances; every input keeps its own rows of OBSERVATION, so that each \
              row tells which block it came from.",
    inputs: &[Input::new("sets", InputKind::MsList, "The sets."), Input::new("out", InputKind::FileOut, "The set to make.")],
    options: &[ConcatOptions::PARAMS],
    defaults: defaults::<ConcatOptions>,
    returns: "MeasurementSet: `path`, `name`",
    effects: Effects::Writes,
    names: false,
    unordered: &["sets"],
    examples: &[Example {
        title: "Rows add up.",
        script: "let s = simulate(\"demo\", #{ long: 2, short: 0, antennas: 5, integrations: 3 });\nlet all = concat(s.long, \"all.ms\", #{ direction_tolerance: \"1arcsec\" });\n\
                 summary(all).n_rows == summary(s.long[0]).n_rows + summary(s.long[1]).n_rows",
        result: "true",
        tolerance: 0.0,
    }],
    see: "CASA concat",
    check: check_options::<ConcatOptions>,
    version: 2,
    run: |call, work| {
        let sets = SetArg::list(call.context, call.list(0))?;
        if let Some(part) = sets.iter().find(|s| s.block.is_some()) {
            return Err(Error::user(format!("`concat` joins whole sets, not one block of a set: {}", part.text)));
        }
        let paths: Vec<_> = sets.into_iter().map(|s| s.path).collect();
        let path = concat(&paths, &call.path_out(1)?, &call.options::<ConcatOptions>()?, work.notice)?;
        set_record(call, &path)
    },
    ..Verb::EMPTY
};
