//! Tables of visibilities for modellers.

use serde_json::{Value, json};

use crate::data::VisSource;
use crate::error::Result;
use crate::ms::Selected;
use crate::ms::select::Selection;
use crate::ms::uvtable::{ReadUvtableOptions, TableStyle, WriteUvtableOptions, WrittenTable, convert_uvtable, read_uvtable, write_uvtable};
use crate::options;
use crate::options::Options;
use crate::script::value::record;
use crate::script::verb::{Columns, Effects, Example, Input, InputKind, Verb, check_options, check_options2, defaults, defaults2};

use super::sets::SetArg;

/// The verbs of this group.
pub static VERBS: &[&Verb] = &[&WRITE_UVTABLE, &READ_UVTABLE, &CONVERT_UVTABLE];

static WRITE_UVTABLE: Verb = Verb {
    name: "write_uvtable",
    group: "Data",
    summary: "Writes the visibilities of sets as a table for frank, galario or MPoL.",
    details: "One line for each visibility of Stokes I: u, v, visibility, weight. `frank`: wavelengths, `.npz` or text; `galario` (also uvplot): \
              metres for the wavelength in the header, text; `mpol`: wavelengths, `.npz`. frank and galario take visibilities with the sign of \
              the set, V = sum I exp(+2 pi i (ul + vm)); MPoL takes their conjugates. Sets are taken as they are: shift them to one phase \
              center first.",
    inputs: &[
        Input::new("sets", InputKind::MsList, "Sets, or blocks of sets."),
        Input::new("out", InputKind::FileOut, "Table to make; its ending chooses text (.txt, .dat) or .npz."),
    ],
    options: &[WriteUvtableOptions::PARAMS, Selection::PARAMS],
    defaults: defaults2::<WriteUvtableOptions, Selection>,
    returns: "`n_vis`, `weight_sum` [Jy^-2], `max_uv_lambda`, `freq_hz`",
    effects: Effects::Writes,
    columns: Columns::Visibilities,
    examples: &[Example {
        title: "A table of one simulated block: 10 baselines, 3 integrations, 8 + 2 channels without the flagged ones.",
        script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 5, integrations: 3, flags: false });\n\
                 write_uvtable(s.long, \"lb.npz\").n_vis",
        result: "300",
        tolerance: 0.0,
    }],
    see: "Jennings et al. 2020, MNRAS 495, 3209; Tazzari et al. 2018, MNRAS 476, 4527",
    check: check_options2::<WriteUvtableOptions, Selection>,
    run: |call, work| {
        let selection = call.options::<Selection>()?;
        let sets = SetArg::list(call.context, call.list(0))?.iter().map(|s| s.select(&selection)).collect::<Result<Vec<Selected>>>()?;
        let sources: Vec<&dyn VisSource> = sets.iter().map(|s| s as &dyn VisSource).collect();
        written(call.text(1)?, write_uvtable(&sources, &call.path_out(1)?, &call.options()?, work.notice)?)
    },
    ..Verb::EMPTY
};

fn written(path: &str, table: WrittenTable) -> Result<Value> {
    let summary = format!("{path}: {} visibilities, baselines up to {:.0} kλ", table.n_vis, table.max_uv_lambda / 1e3);
    let mut fields = serde_json::to_value(table).unwrap_or_default();
    if let Some(map) = fields.as_object_mut() {
        map.insert("path".to_string(), json!(path));
    }
    record("UvTable", summary, fields)
}

static READ_UVTABLE: Verb = Verb {
    name: "read_uvtable",
    group: "Data",
    summary: "Tells what is in a table of visibilities.",
    details: "Tables of frank, galario, uvplot and MPoL: `.npz` by the names of its arrays, text of five columns by its header.",
    inputs: &[Input::new("table", InputKind::FileIn, "Table.")],
    options: &[ReadUvtableOptions::PARAMS],
    defaults: defaults::<ReadUvtableOptions>,
    returns: "`n_vis`, `weight_sum` [Jy^-2], `max_uv_lambda`",
    effects: Effects::Reads,
    examples: &[Example {
        title: "A table that was written is read again.",
        script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 5, integrations: 3, flags: false });\n\
                 write_uvtable(s.long, \"lb.txt\", #{ style: \"galario\" });\nread_uvtable(\"lb.txt\").n_vis",
        result: "300",
        tolerance: 0.0,
    }],
    check: check_options::<ReadUvtableOptions>,
    run: |call, _| {
        let table = read_uvtable(&call.path_in(0)?, &call.options()?)?;
        let (n, max) = (table.len(), table.max_uv_lambda());
        let fields = json!({ "n_vis": n, "weight_sum": table.weight.iter().sum::<f64>(), "max_uv_lambda": max });
        record("UvTable", format!("{}: {n} visibilities, baselines up to {:.0} kλ", call.text(0)?, max / 1e3), fields)
    },
    ..Verb::EMPTY
};

options! {
    /// The style of the table to make.
    pub struct ConvertOptions {
        /// Whose table to make: `frank`, `galario` or `mpol`.
        [""] to: TableStyle = TableStyle::Frank,
    }
}

static CONVERT_UVTABLE: Verb = Verb {
    name: "convert_uvtable",
    group: "Data",
    summary: "Turns a table of visibilities into one of another style.",
    details: "From and to the tables of frank, galario, uvplot and MPoL; see `write_uvtable` for their units and signs.",
    inputs: &[Input::new("table", InputKind::FileIn, "Table to read."), Input::new("out", InputKind::FileOut, "Table to make.")],
    options: &[ConvertOptions::PARAMS, ReadUvtableOptions::PARAMS],
    defaults: defaults2::<ConvertOptions, ReadUvtableOptions>,
    returns: "`n_vis`, `weight_sum` [Jy^-2], `max_uv_lambda`",
    effects: Effects::Writes,
    examples: &[Example {
        title: "From galario to frank.",
        script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 5, integrations: 3, flags: false });\n\
                 write_uvtable(s.long, \"lb.txt\", #{ style: \"galario\" });\nconvert_uvtable(\"lb.txt\", \"lb.npz\").n_vis",
        result: "300",
        tolerance: 0.0,
    }],
    check: check_options2::<ConvertOptions, ReadUvtableOptions>,
    run: |call, work| {
        let (to, read) = (call.options::<ConvertOptions>()?.to, call.options::<ReadUvtableOptions>()?);
        written(call.text(1)?, convert_uvtable(&call.path_in(0)?, &call.path_out(1)?, &read, to, work.notice)?)
    },
    ..Verb::EMPTY
};
