//! The table of shifts: saved by one script, applied by another.

use std::path::Path;

use serde_json::{Value, json};

use crate::data::{SHIFT_COLUMNS, ShiftRow, ShiftTable};
use crate::error::{Error, Result};
use crate::ms::atomic::NewFolder;
use crate::ms::select::Selection;
use crate::ms::{Labels, ShiftOptions};
use crate::options::Options;
use crate::run::record::{Column, Table};
use crate::script::value::record;
use crate::script::verb::{Call, Effects, Example, Input, InputKind, Verb, Work, check_options, defaults};
use crate::units::MAS;

use super::align::Measured;
use super::data::shift_set;
use super::sets::SetArg;

/// The verbs of this group.
pub static VERBS: &[&Verb] = &[&SAVE_SHIFTS, &APPLY_SHIFTS];

static SAVE_SHIFTS: Verb = Verb {
    name: "save_shifts",
    group: "Tables",
    summary: "Saves the table of shifts as CSV (for programs) and Markdown (for readers).",
    details: "One row a block: its offset relative to the reference, errors, flux scale, chi-square, cells, and the offset measured again after the \
              shift. The reference has a row of zeros; a value that does not apply is empty.",
    inputs: &[
        Input::new("reference", InputKind::Text, "Name of the reference."),
        Input::new("offsets", InputKind::Records("Offset"), "Offsets of the original sets."),
        Input::new("checks", InputKind::Records("Offset"), "Offsets measured again after the shift; may be empty."),
        Input::new("file", InputKind::FileOut, "File that ends in .csv or .md."),
    ],
    returns: "ShiftTable: `rows`",
    effects: Effects::Writes,
    examples: &[Example {
        title: "The table of two blocks.",
        script: "let s = simulate(\"demo\", #{ long: 2, short: 0, antennas: 8, integrations: 6 });\nlet o = find_offset(s.long[0], s.long[1]);\n\
                 save_shifts(\"LB1\", [o], [], \"shifts.csv\").rows.len()",
        result: "2",
        tolerance: 0.0,
    }],
    run: save_shifts,
    ..Verb::EMPTY
};

fn save_shifts(call: &Call, work: &Work) -> Result<Value> {
    let read =
        |v: &Value| serde_json::from_value::<Measured>(v.clone()).map_err(|e| Error::internal(format!("an Offset record is damaged: {e}")));
    let checks: Vec<Measured> = call.list(2).iter().map(read).collect::<Result<_>>()?;
    let mut rows = vec![ShiftRow::reference(call.text(0)?)];
    for value in call.list(1) {
        let mut row = read(value)?.row();
        row.reference = call.text(0)?.to_string();
        if let Some(check) = checks.iter().find(|c| base_name(&c.block) == base_name(&row.block)).and_then(|c| c.offset) {
            row.check_dra_mas = Some(check.dra_mas);
            row.check_ddec_mas = Some(check.ddec_mas);
        }
        rows.push(row);
    }
    let table = ShiftTable::new(rows)?;
    let path = call.path_out(3)?;
    let text = match path.extension().and_then(|e| e.to_str()) {
        Some("csv") => table.to_csv(),
        Some("md") => table.to_markdown(),
        _ => return Err(Error::user("a table of shifts is saved as .csv or .md").at(&path)),
    };
    write_whole(&path, &text)?;
    if let (Some(step), true) = (work.step, path.extension().is_some_and(|e| e == "csv")) {
        step.table(report_table(&table));
    }
    record("ShiftTable", table.to_markdown(), json!({ "rows": table.rows() }))
}

/// `LB2_shift` -> `LB2`: the block that a shifted set was made from.
fn base_name(name: &str) -> String {
    name.strip_suffix("_shift").unwrap_or(name).replace('#', "_eb")
}

fn report_table(table: &ShiftTable) -> Table {
    let unit = |name: &str| if name.ends_with("_mas") { "mas" } else { "" }.to_string();
    let columns = SHIFT_COLUMNS.iter().map(|c| Column { name: c.trim_end_matches("_mas").replace('_', " "), unit: unit(c) }).collect();
    let row = |r: &ShiftRow| {
        let map = serde_json::to_value(r).unwrap_or(Value::Null);
        SHIFT_COLUMNS.iter().map(|c| map.get(*c).cloned().unwrap_or(Value::Null)).collect()
    };
    Table { title: "Shifts".into(), columns, rows: table.rows().iter().map(row).collect(), ..Default::default() }
}

/// Writes a text file, whole or not at all.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let fail = |e| Error::io("write the table", path, e);
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(fail)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

crate::options! {
    /// Options of `apply_shifts`.
    pub struct ApplyOptions {
        /// Names of the blocks in the table, one for each set; by default the set's own name, or the block name that it starts with (`LB1_lines` is a set of block `LB1`).
        [""] blocks: Vec<String> = vec![],
        /// Field that is moved, where a set has several.
        [""] field: crate::ms::select::Names = Default::default(),
    }
}

static APPLY_SHIFTS: Verb = Verb {
    name: "apply_shifts",
    group: "Tables",
    summary: "Applies a table of shifts to other sets of the same blocks, for example the line data.",
    details: "Every set is moved by the offset of its block and labelled like the set of the reference, as `shift` does. All names are looked up, and \
              blocks that were not aligned are refused, before anything is written.",
    inputs: &[
        Input::new("csv", InputKind::FileIn, "A table made by `save_shifts`."),
        Input::new("sets", InputKind::MsList, "The sets to move."),
        Input::new("folder", InputKind::FileOut, "Folder to make; it will hold `<set>_shift.ms`."),
        Input::optional(
            "label",
            InputKind::Ms,
            "Set whose phase center labels all; by default the set of the reference block, which must then be among the sets.",
        ),
    ],
    options: &[ApplyOptions::PARAMS],
    defaults: defaults::<ApplyOptions>,
    returns: "A list of the new sets.",
    effects: Effects::Writes,
    examples: &[Example {
        title: "The table of a fit, applied to the same sets.",
        script: "let s = simulate(\"demo\", #{ long: 2, short: 0 });\nlet o = find_offset(s.long[0], s.long[1], #{ spw: 0 });\n\
                 save_shifts(\"LB1\", [o], [], \"shifts.csv\");\napply_shifts(\"shifts.csv\", s.long, \"moved\")[1]",
        result: "moved/LB2_shift.ms",
        tolerance: 0.0,
    }],
    check: check_options::<ApplyOptions>,
    run: apply_shifts,
    ..Verb::EMPTY
};

fn apply_shifts(call: &Call, work: &Work) -> Result<Value> {
    let csv = call.path_in(0)?;
    let text = std::fs::read_to_string(&csv).map_err(|e| Error::io("read the table of shifts", &csv, e))?;
    let table = ShiftTable::from_csv(&text).map_err(|e| e.at(&csv))?;
    let (sets, options) = (SetArg::list(call.context, call.list(1))?, call.options::<ApplyOptions>()?);
    let rows = rows_of(&sets, &table, &options)?;
    let label = label_set(call, &sets, &rows)?;
    let label = label.select(&Selection { field: options.field.clone(), ..Default::default() })?;
    let labels = Labels::One(crate::data::VisSource::phase_center(&label));
    let folder = NewFolder::new(&call.path_out(2)?)?;
    let mut made = vec![];
    for (i, (set, (row, offset))) in sets.iter().zip(&rows).enumerate() {
        work.notice.progress("apply shifts", i as u64, sets.len() as u64);
        let name = format!("{}_shift.ms", set.name().replace('#', "_eb"));
        let shift_options = ShiftOptions { field: options.field.clone(), relabel_to: Some(labels.clone()) };
        shift_set(set, *offset, &folder.path().join(&name), &shift_options, work.notice)
            .map_err(|e| Error { message: format!("{} (block {}): {}", set.name(), row.block, e.message), ..e })?;
        made.push(name);
    }
    let folder = folder.publish(work.notice)?;
    made.iter().map(|name| Ok(Value::from(call.context.sandbox.show(&folder.join(name))))).collect::<Result<Vec<_>>>().map(Value::Array)
}

type RowAndOffset<'t> = (&'t ShiftRow, (f64, f64));

/// The row of each set and its offset in rad; everything that is missing is an error before anything is written.
fn rows_of<'t>(sets: &[SetArg], table: &'t ShiftTable, options: &ApplyOptions) -> Result<Vec<RowAndOffset<'t>>> {
    let known = || table.rows().iter().map(|r| r.block.as_str()).collect::<Vec<_>>().join(", ");
    if !(options.blocks.is_empty() || options.blocks.len() == sets.len()) {
        return Err(Error::user(format!("`blocks` names {} blocks for {} sets", options.blocks.len(), sets.len())));
    }
    let find =
        |i: usize, set: &SetArg| {
            let row = match options.blocks.get(i) {
                Some(block) => table.row(block),
                None => table.row(&set.name()).or_else(|| longest_prefix(table, &set.name())),
            };
            let row = row.ok_or_else(|| {
                Error::user(format!("the table of shifts has no block for the set {}", set.name()))
                    .hint(format!("its blocks are {}; name them in the order of the sets with the option `blocks`", known()))
            })?;
            match (row.converged, row.dra_mas, row.ddec_mas) {
                (true, Some(east), Some(north)) => Ok((row, (east * MAS, north * MAS))),
                _ => Err(Error::data(format!("block {} was not aligned, so {} cannot be shifted", row.block, set.name()))
                    .hint("leave the set out")),
            }
        };
    sets.iter().enumerate().map(|(i, set)| find(i, set)).collect()
}

/// The longest block name that a set's name starts with, followed by a separator: `LB1_lines` -> `LB1`, but not `LB10`.
fn longest_prefix<'t>(table: &'t ShiftTable, set: &str) -> Option<&'t ShiftRow> {
    let fits = |r: &&ShiftRow| set.strip_prefix(&r.block).is_some_and(|rest| rest.starts_with(|c: char| !c.is_alphanumeric()));
    table.rows().iter().filter(fits).max_by_key(|r| r.block.len())
}

/// The set whose phase center labels all.
fn label_set(call: &Call, sets: &[SetArg], rows: &[RowAndOffset]) -> Result<SetArg> {
    if !call.args[3].is_null() {
        return SetArg::new(call.context, &call.args[3]);
    }
    let own = sets.iter().zip(rows).find(|(_, (row, _))| row.block == row.reference);
    own.map(|(set, _)| set.clone()).ok_or_else(|| {
        let reference = rows.first().map_or("", |(row, _)| row.reference.as_str());
        Error::user(format!("no set of the reference block {reference} is among the sets, so it is not known what to label them with"))
            .hint("add it to the sets, or give a set with that phase center as the fourth argument")
    })
}
