//! Offsets of execution blocks.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::align::{FindOffsetOptions, OffsetFit, UvGridOptions, find_offset};
use crate::data::ShiftRow;
use crate::error::{Error, Result};
use crate::ms::select::Selection;
use crate::options::Options;
use crate::script::value::record;
use crate::script::verb::{Call, Effects, Example, Input, InputKind, Verb, Work, check_options, check_options2, defaults, defaults2};
use crate::sky::Offset;
use crate::units::{ARCSEC, MAS};

use super::sets::{Blocks, SetArg};

/// The verbs of this group.
pub static VERBS: &[&Verb] = &[&UV_GRID, &FIND_OFFSET];

/// An offset with unit and direction in its names, as scripts read it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct OffsetMas {
    /// To the east, mas.
    pub dra_mas: f64,
    /// To the north, mas.
    pub ddec_mas: f64,
    /// Length, mas.
    pub length_mas: f64,
}

impl From<Offset> for OffsetMas {
    fn from(o: Offset) -> OffsetMas {
        OffsetMas { dra_mas: o.dra_mas(), ddec_mas: o.ddec_mas(), length_mas: o.length_mas() }
    }
}

/// A beam in milliarcseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct BeamMas {
    /// Major axis, mas.
    pub bmaj_mas: f64,
    /// Minor axis, mas.
    pub bmin_mas: f64,
    /// Position angle, deg.
    pub bpa_deg: f64,
}

impl From<(f64, f64, f64)> for BeamMas {
    fn from((bmaj, bmin, bpa): (f64, f64, f64)) -> BeamMas {
        BeamMas { bmaj_mas: bmaj / MAS, bmin_mas: bmin / MAS, bpa_deg: bpa.to_degrees() }
    }
}

/// What a fit says of one block, by whatever method; the fields that scripts read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// Name of the block.
    pub block: String,
    /// Name of the reference.
    pub reference: String,
    /// `joint` or `pairwise`.
    pub method: String,
    /// Offset; `None` where it cannot be trusted.
    pub offset: Option<OffsetMas>,
    /// Its 1-sigma errors.
    pub sigma: Option<OffsetMas>,
    /// Correlation of the errors.
    pub correlation: Option<f64>,
    /// Flux scale relative to the reference.
    pub amplitude_ratio: Option<f64>,
    /// Reduced chi-square.
    pub chi2_reduced: Option<f64>,
    /// Naturally weighted beam of the block.
    pub beam: Option<BeamMas>,
    /// uv cells of the block.
    pub cells: u64,
    /// uv cells shared with the reference.
    pub shared_cells: Option<u64>,
    /// True if the offset can be trusted.
    pub converged: bool,
    /// Why, or why not.
    pub reason: String,
}

impl Measured {
    /// One line for `print`.
    pub fn summary(&self) -> String {
        match (&self.offset, &self.sigma) {
            (Some(o), Some(s)) => format!(
                "{}: ΔRA {:+.2} ± {:.2} mas, ΔDec {:+.2} ± {:.2} mas relative to {}{}",
                self.block,
                o.dra_mas,
                s.dra_mas,
                o.ddec_mas,
                s.ddec_mas,
                self.reference,
                self.chi2_reduced.map(|c| format!(", reduced χ² {c:.2}")).unwrap_or_default()
            ),
            _ => format!("{}: not aligned to {}: {}", self.block, self.reference, self.reason),
        }
    }

    /// The row of the table of shifts.
    pub fn row(&self) -> ShiftRow {
        ShiftRow {
            block: self.block.clone(),
            reference: self.reference.clone(),
            dra_mas: self.offset.map(|o| o.dra_mas),
            ddec_mas: self.offset.map(|o| o.ddec_mas),
            sigma_dra_mas: self.sigma.map(|o| o.dra_mas),
            sigma_ddec_mas: self.sigma.map(|o| o.ddec_mas),
            correlation: self.correlation,
            amplitude_ratio: self.amplitude_ratio,
            chi2_reduced: self.chi2_reduced,
            cells: Some(self.cells),
            shared_cells: self.shared_cells,
            check_dra_mas: None,
            check_ddec_mas: None,
            method: self.method.clone(),
            converged: self.converged,
            reason: if self.converged { String::new() } else { self.reason.clone() },
        }
    }
}

static UV_GRID: Verb = Verb {
    name: "uv_grid",
    group: "Alignment",
    summary: "Describes a uv grid by its image: pixel and number of cells a side.",
    inputs: &[],
    options: &[UvGridOptions::PARAMS],
    defaults: defaults::<UvGridOptions>,
    returns: "A map for the option `grid` of `find_offset`.",
    effects: Effects::Glue,
    examples: &[Example {
        title: "The grid of the published long-baseline alignment: cells of 10.3 kλ.",
        script: "uv_grid(#{ cell: \"0.01arcsec\", npix: 2000 }).npix",
        result: "2000",
        tolerance: 0.0,
    }],
    check: check_options::<UvGridOptions>,
    run: |call, _| Ok(Value::Object(call.options.clone())),
    ..Verb::EMPTY
};

static FIND_OFFSET: Verb = Verb {
    name: "find_offset",
    group: "Alignment",
    summary: "Finds the offset of a block relative to a reference from the uv cells that both have.",
    details: "Both sets are averaged in the cells of a common uv grid. The offset minimizes Σ w_R w_C/(w_R + w_C) |R − g C|² with a free \
              amplitude ratio g; the start is the highest peak of the cross-correlation over the whole image field. The block is then shifted \
              exactly, gridded and fitted again until nothing changes. Windows are looked up in the reference and found by frequency in the block.",
    inputs: &[
        Input::new("reference", InputKind::Ms, "The set that stays where it is."),
        Input::new("ms", InputKind::Ms, "The set whose offset is wanted."),
    ],
    options: &[FindOffsetOptions::PARAMS, Selection::PARAMS],
    defaults: defaults2::<FindOffsetOptions, Selection>,
    returns: "Offset: `offset` and `sigma` (`dra_mas`, `ddec_mas`, `length_mas`; positive east and north), `correlation`, `amplitude_ratio`, \
              `chi2_reduced`, `cells`, `cells_reference`, `shared_cells`, `npix_scan`, `grid`, `converged`, `reason`",
    effects: Effects::Reads,
    examples: &[
        Example {
            title: "A set against itself has no offset.",
            script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 8, integrations: 6 });\nfind_offset(s.long[0], s.long[0]).offset.length_mas",
            result: "0",
            tolerance: 0.0,
        },
        Example {
            title: "An offset cannot be found in a spectral window that does not exist.",
            script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 5, integrations: 3 });\nfind_offset(s.long[0], s.long[0], #{ spw: 7 })",
            result: "error: spw",
            tolerance: 0.0,
        },
    ],
    see: "Andrews et al. 2018, ApJL 869, L41 (alignment of execution blocks); docs/decisions.md",
    check: check_options2::<FindOffsetOptions, Selection>,
    run: run_find_offset,
    ..Verb::EMPTY
};

fn run_find_offset(call: &Call, work: &Work) -> Result<Value> {
    let (reference, block) = (SetArg::new(call.context, &call.args[0])?, SetArg::new(call.context, &call.args[1])?);
    let blocks = Blocks::open(&reference, &[block], &call.options::<Selection>()?)?;
    let fit = find_offset(&blocks.reference, &blocks.others[0], &call.options::<FindOffsetOptions>()?, work.notice)?;
    offset_record(&fit)
}

fn offset_record(fit: &OffsetFit) -> Result<Value> {
    let trusted = fit.converged;
    let measured = Measured {
        block: fit.block.clone(),
        reference: fit.reference.clone(),
        method: "pairwise".into(),
        offset: trusted.then(|| fit.offset.into()),
        sigma: trusted.then(|| fit.sigma.into()),
        correlation: trusted.then_some(fit.correlation),
        amplitude_ratio: trusted.then_some(fit.amplitude_ratio),
        chi2_reduced: Some(fit.chi2_reduced),
        beam: fit.block_grid.beam().map(BeamMas::from),
        cells: fit.cells_block as u64,
        shared_cells: Some(fit.shared_cells as u64),
        converged: trusted,
        reason: fit.reason.clone(),
    };
    let mut value = record("Offset", measured.summary(), &measured)?;
    let scan: Vec<Value> = fit
        .npix_scan
        .iter()
        .map(|s| {
            json!({ "npix": s.npix, "dra_mas": s.offset.dra_mas(), "ddec_mas": s.offset.ddec_mas(), "sigma_dra_mas": s.sigma.dra_mas(),
                    "sigma_ddec_mas": s.sigma.ddec_mas(), "chi2_reduced": s.chi2_reduced, "shared_cells": s.shared_cells })
        })
        .collect();
    let more = json!({
        "cells_reference": fit.cells_reference,
        "npix_scan": scan,
        "grid": { "cell_arcsec": fit.spec.cell_rad() / ARCSEC, "npix": fit.spec.npix(), "cell_klambda": fit.spec.cell_lambda() / 1e3 },
        "significance": fit.significance,
        "ambiguity": fit.ambiguity,
        "passes": fit.passes,
        "best": OffsetMas::from(fit.offset),
        "$figure": super::figures::uv_overlap_data(fit),
    });
    extend(&mut value, more)?;
    Ok(value)
}

/// Adds the fields of one JSON map to another.
pub fn extend(value: &mut Value, more: Value) -> Result<()> {
    match (value, more) {
        (Value::Object(value), Value::Object(more)) => {
            value.extend(more);
            Ok(())
        }
        _ => Err(Error::internal("a record is not a map")),
    }
}
