//! The table of shifts: one row for each execution block, as CSV for programs and Markdown for readers.

use crate::error::{Error, Result};

/// The columns of `shifts.csv`, in order.
pub const SHIFT_COLUMNS: [&str; 15] = [
    "block",
    "reference",
    "dra_mas",
    "ddec_mas",
    "sigma_dra_mas",
    "sigma_ddec_mas",
    "correlation",
    "amplitude_ratio",
    "chi2_reduced",
    "cells",
    "shared_cells",
    "check_dra_mas",
    "check_ddec_mas",
    "method",
    "converged",
];

/// One block of the table. Offsets are those of the *original* set relative to the reference, positive east and north.
///
/// A value that does not apply is `None` and an empty cell: an offset that could not be trusted is never written.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ShiftRow {
    /// Name of the block: the set's file name without folder and `.ms`.
    pub block: String,
    /// Name of the reference.
    pub reference: String,
    /// Offset to the east, mas.
    pub dra_mas: Option<f64>,
    /// Offset to the north, mas.
    pub ddec_mas: Option<f64>,
    /// 1-sigma of the offset to the east, mas.
    pub sigma_dra_mas: Option<f64>,
    /// 1-sigma of the offset to the north, mas.
    pub sigma_ddec_mas: Option<f64>,
    /// Correlation of the two errors.
    pub correlation: Option<f64>,
    /// Flux scale of the block over that of the reference.
    pub amplitude_ratio: Option<f64>,
    /// Reduced chi-square of the fit.
    pub chi2_reduced: Option<f64>,
    /// uv cells of the block.
    pub cells: Option<u64>,
    /// uv cells shared with the reference (pairwise).
    pub shared_cells: Option<u64>,
    /// Offset to the east measured again after the shift, mas.
    pub check_dra_mas: Option<f64>,
    /// Offset to the north measured again after the shift, mas.
    pub check_ddec_mas: Option<f64>,
    /// `joint`, `pairwise`, or `reference` for the row of the reference.
    pub method: String,
    /// True if the offset can be trusted.
    pub converged: bool,
    /// Why not, for the reader; not in the CSV.
    pub reason: String,
}

impl ShiftRow {
    /// The row of the reference itself: zeros by definition.
    pub fn reference(name: &str) -> ShiftRow {
        ShiftRow {
            block: name.to_string(),
            reference: name.to_string(),
            dra_mas: Some(0.0),
            ddec_mas: Some(0.0),
            sigma_dra_mas: Some(0.0),
            sigma_ddec_mas: Some(0.0),
            check_dra_mas: Some(0.0),
            check_ddec_mas: Some(0.0),
            method: "reference".to_string(),
            converged: true,
            ..Default::default()
        }
    }

    fn cells(&self) -> [String; 15] {
        let number = |x: Option<f64>| x.filter(|x| x.is_finite()).map_or(String::new(), |x| format!("{x:.6}"));
        let count = |x: Option<u64>| x.map_or(String::new(), |x| x.to_string());
        [
            self.block.clone(),
            self.reference.clone(),
            number(self.dra_mas),
            number(self.ddec_mas),
            number(self.sigma_dra_mas),
            number(self.sigma_ddec_mas),
            number(self.correlation),
            number(self.amplitude_ratio),
            number(self.chi2_reduced),
            count(self.cells),
            count(self.shared_cells),
            number(self.check_dra_mas),
            number(self.check_ddec_mas),
            self.method.clone(),
            self.converged.to_string(),
        ]
    }
}

/// The table of shifts; block names are unique.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ShiftTable {
    rows: Vec<ShiftRow>,
}

impl ShiftTable {
    /// A table from its rows; two rows of the same block are an error.
    pub fn new(rows: Vec<ShiftRow>) -> Result<ShiftTable> {
        for (i, row) in rows.iter().enumerate() {
            if rows[..i].iter().any(|r| r.block == row.block) {
                return Err(Error::user(format!("two blocks are named \"{}\"; a block's name must be its own", row.block))
                    .hint("block names are file names without folder and `.ms`: rename one of the sets"));
            }
        }
        Ok(ShiftTable { rows })
    }

    /// The rows.
    pub fn rows(&self) -> &[ShiftRow] {
        &self.rows
    }

    /// The row of a block, if there is one.
    pub fn row(&self, block: &str) -> Option<&ShiftRow> {
        self.rows.iter().find(|r| r.block == block)
    }

    /// The table as CSV (RFC 4180), with a header line.
    pub fn to_csv(&self) -> String {
        let mut out = format!("{}\n", SHIFT_COLUMNS.join(","));
        for row in &self.rows {
            let cells: Vec<String> = row.cells().iter().map(|c| quoted(c)).collect();
            out.push_str(&format!("{}\n", cells.join(",")));
        }
        out
    }

    /// Reads a table; columns are found by name, in any order, and the offsets must be there.
    pub fn from_csv(text: &str) -> Result<ShiftTable> {
        let mut lines = records(text).into_iter();
        let header = lines.next().ok_or_else(|| Error::user("the table of shifts is empty").hint("expected a line of column names"))?;
        let column = |name: &str| header.iter().position(|h| h.trim() == name);
        for name in ["block", "dra_mas", "ddec_mas"] {
            if column(name).is_none() {
                return Err(Error::user(format!("the table of shifts has no column `{name}`"))
                    .hint(format!("it needs: {}", SHIFT_COLUMNS.join(", "))));
            }
        }
        let mut rows = vec![];
        for (i, cells) in lines.enumerate() {
            let text = |name: &str| column(name).and_then(|k| cells.get(k)).map_or("", |s| s.trim());
            let number = |name: &str| match text(name) {
                "" => Ok(None),
                t => t
                    .parse::<f64>()
                    .ok()
                    .filter(|x| x.is_finite())
                    .map(Some)
                    .ok_or_else(|| Error::user(format!("line {} of the table of shifts: `{name}` is \"{t}\", not a number", i + 2))),
            };
            rows.push(ShiftRow {
                block: text("block").to_string(),
                reference: text("reference").to_string(),
                dra_mas: number("dra_mas")?,
                ddec_mas: number("ddec_mas")?,
                sigma_dra_mas: number("sigma_dra_mas")?,
                sigma_ddec_mas: number("sigma_ddec_mas")?,
                correlation: number("correlation")?,
                amplitude_ratio: number("amplitude_ratio")?,
                chi2_reduced: number("chi2_reduced")?,
                cells: number("cells")?.map(|x| x as u64),
                shared_cells: number("shared_cells")?.map(|x| x as u64),
                check_dra_mas: number("check_dra_mas")?,
                check_ddec_mas: number("check_ddec_mas")?,
                method: text("method").to_string(),
                converged: text("converged") == "true",
                reason: String::new(),
            });
        }
        ShiftTable::new(rows)
    }

    /// The table for a reader, in Markdown: offsets with errors, then the check after the shift.
    pub fn to_markdown(&self) -> String {
        let mut out = String::from(
            "| block | ΔRA (mas) | ΔDec (mas) | flux scale | χ²/dof | uv cells | shared | check ΔRA | check ΔDec | method | |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---|\n",
        );
        for r in &self.rows {
            let number = |x: Option<f64>, digits: usize| x.map_or("–".to_string(), |x| format!("{x:.digits$}"));
            let with_error = |x: Option<f64>, s: Option<f64>| match (x, s) {
                (Some(x), Some(s)) if r.method != "reference" => format!("{x:+.2} ± {s:.2}"),
                (Some(x), _) => format!("{x:.2}"),
                (None, _) => "–".to_string(),
            };
            let count = |x: Option<u64>| x.map_or("–".to_string(), |x| x.to_string());
            let state = if r.converged { "".to_string() } else { format!("**not aligned**: {}", r.reason) };
            out.push_str(&format!(
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
                r.block.replace('|', "\\|"),
                with_error(r.dra_mas, r.sigma_dra_mas),
                with_error(r.ddec_mas, r.sigma_ddec_mas),
                number(r.amplitude_ratio, 3),
                number(r.chi2_reduced, 2),
                count(r.cells),
                count(r.shared_cells),
                number(r.check_dra_mas, 3),
                number(r.check_ddec_mas, 3),
                r.method,
                state
            ));
        }
        let reference = self.rows.first().map_or("", |r| r.reference.as_str());
        out.push_str(&format!(
            "\nOffsets of the source relative to each block's own phase center, minus the same in the reference **{reference}**, positive east and \
             north; errors are 1 sigma. The check is the offset measured again after the shift.\n"
        ));
        out
    }
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_string() }
}

/// The records of a CSV text; blank lines and lines that start with `#` are left out.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut out, mut record, mut cell, mut quoted) = (vec![], vec![], String::new(), false);
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut cell));
                out.push(std::mem::take(&mut record));
            }
            c => cell.push(c),
        }
    }
    record.push(cell);
    out.push(record);
    out.retain(|r: &Vec<String>| !(r.iter().all(|c| c.trim().is_empty()) || r[0].starts_with('#')));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(block: &str) -> ShiftRow {
        ShiftRow {
            block: block.into(),
            reference: "LB1".into(),
            dra_mas: Some(-19.783),
            ddec_mas: Some(4.6808),
            cells: Some(16166),
            method: "joint".into(),
            converged: true,
            ..Default::default()
        }
    }

    #[test]
    fn a_table_survives_its_csv() {
        let table =
            ShiftTable::new(vec![ShiftRow::reference("LB1"), row("a,\"b\""), ShiftRow { dra_mas: None, converged: false, ..row("c") }])
                .unwrap();
        assert_eq!(ShiftTable::from_csv(&table.to_csv()).unwrap(), table);
        assert_eq!(table.to_csv().lines().next().unwrap().split(',').count(), 15);
    }

    #[test]
    fn two_blocks_of_one_name_are_an_error() {
        assert!(ShiftTable::new(vec![row("a"), row("a")]).unwrap_err().message.contains("\"a\""));
    }

    #[test]
    fn a_cell_that_is_no_number_is_named_with_its_line() {
        let e = ShiftTable::from_csv("block,dra_mas,ddec_mas\nLB1,0,0\nLB2,x,1\n").unwrap_err();
        assert_eq!(e.message, "line 3 of the table of shifts: `dra_mas` is \"x\", not a number");
    }
}
