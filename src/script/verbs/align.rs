//! Offsets of execution blocks.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::align::{
    BlockStatus, FindOffsetOptions, JointBlock, JointFit, JointOptions, OffsetFit, PROFILE_BINS, UvGridOptions, align_jointly, diagnose,
    find_offset, uv_grid, uv_profile,
};
use crate::data::{ShiftRow, VisSource};
use crate::error::{Error, Result};
use crate::ms::select::Selection;
use crate::notice::Warning;
use crate::options::Options;
use crate::script::value::record;
use crate::script::verb::{
    Call, Columns, Effects, Example, Input, InputKind, Verb, Work, check_options, check_options2, defaults, defaults2,
};
use crate::sky::Offset;
use crate::units::{ARCSEC, MAS};

use super::sets::{Blocks, SetArg};

/// The verbs of this group.
pub static VERBS: &[&Verb] = &[&BEST_BLOCK, &ALIGN_JOINTLY, &FIND_OFFSET, &UV_GRID, &UV_PROFILE];

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
              exactly, gridded and fitted again until nothing changes. Windows are looked up in the reference and found by frequency in the block. \
              Not trusted (`converged` false, `offset` empty, `reason` says why): a match that random phases would bring more than 0.001 times in \
              the field searched (`chance`), and one with another place in the field whose chi-square is less than 25 higher, counted in units of \
              the reduced chi-square where that is above 1; and, with errors from the weights, a reduced chi-square above 5.",
    inputs: &[
        Input::new("reference", InputKind::Ms, "The set that stays where it is."),
        Input::new("ms", InputKind::Ms, "The set whose offset is wanted."),
    ],
    options: &[FindOffsetOptions::PARAMS, Selection::PARAMS],
    defaults: defaults2::<FindOffsetOptions, Selection>,
    returns: "Offset: `offset` and `sigma` (`dra_mas`, `ddec_mas`, `length_mas`; positive east and north), `correlation`, `amplitude_ratio`, \
              `chi2_reduced`, `cells`, `cells_reference`, `shared_cells`, `npix_scan`, `grid`, `significance`, `chance`, `converged`, `reason`",
    effects: Effects::Reads,
    columns: Columns::Visibilities,
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
    version: 5,
    run: run_find_offset,
    ..Verb::EMPTY
};

fn run_find_offset(call: &Call, work: &Work) -> Result<Value> {
    let (reference, block) = (SetArg::new(call.context, &call.args[0])?, SetArg::new(call.context, &call.args[1])?);
    let blocks = Blocks::open(&reference, &[block], &call.options::<Selection>()?)?;
    blocks.check_weights(work.notice)?;
    let fit = find_offset(&blocks.reference, &blocks.others[0], &call.options::<FindOffsetOptions>()?, work.notice)?;
    for d in diagnose(&fit) {
        work.notice.warn(Warning::new(&d.name, format!("{} against {}: {}", fit.block, fit.reference, d.message)).hint(d.hint));
    }
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
        "chance": fit.chance,
        "ambiguity": fit.ambiguity,
        "passes": fit.passes,
        "best": OffsetMas::from(fit.offset),
        "diagnosis": diagnose(fit).into_iter().map(|d| json!({ "name": d.name, "message": d.message, "serious": d.serious })).collect::<Vec<_>>(),
        "$figure": super::figures::pair_data(fit),
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

static ALIGN_JOINTLY: Verb = Verb {
    name: "align_jointly",
    group: "Alignment",
    summary: "Finds the offsets of all blocks at once, relative to a reference, against a common unknown sky.",
    details: "One image of the sky, an offset and a flux scale for each block are fitted to all samples; the errors include that the sky is \
              unknown. Blocks need no uv cells in common. A block that cannot be trusted has no offset, and the reason instead; if the reference is such \
              a block, that is an error. Windows are looked up \
              in the reference (the first block if none is named) and found by frequency in the others.",
    inputs: &[Input::new("blocks", InputKind::MsList, "Two or more sets, or blocks of sets (`a.ms#0`).")],
    options: &[JointOptions::PARAMS, Selection::PARAMS],
    defaults: defaults2::<JointOptions, Selection>,
    returns: "Alignment: `reference`, `seed`, `offsets` (an Offset for every block but the reference, in the order given), `support`, `remarks`, \
              `iterations`, `converged` (true if every block is aligned)",
    effects: Effects::Reads,
    columns: Columns::Visibilities,
    examples: &[
        Example {
            title: "Offsets come back within their errors.",
            script: "let s = simulate(\"demo\", #{ long: 2, short: 1 });\nlet fit = align_jointly(s.long + s.short, #{ reference: \"LB1\", spw: 0 });\n\
                     let off = (fit.offsets[0].offset.dra_mas - s.truth.ebs[1].rel_as[0] * 1000.0) / fit.offsets[0].sigma.dra_mas;\nabs(off) < 4.0",
            result: "true",
            tolerance: 0.0,
        },
        Example {
            title: "One block has nothing to be aligned with.",
            script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 5, integrations: 3 });\nalign_jointly(s.long)",
            result: "error: ",
            tolerance: 0.0,
        },
    ],
    see: "docs/decisions.md (joint alignment)",
    check: check_options2::<JointOptions, Selection>,
    version: 4,
    run: run_align_jointly,
    ..Verb::EMPTY
};

fn run_align_jointly(call: &Call, work: &Work) -> Result<Value> {
    let (sets, options) = (SetArg::list(call.context, call.list(0))?, call.options::<JointOptions>()?);
    let i_reference = match &options.reference {
        Some(name) => position(&sets, name)?,
        None => 0,
    };
    let Some(first) = sets.get(i_reference) else {
        return Err(Error::user("`align_jointly` got no blocks").hint("give two or more sets"));
    };
    let others: Vec<SetArg> = sets.iter().enumerate().filter(|(i, _)| *i != i_reference).map(|(_, s)| s.clone()).collect();
    let blocks = Blocks::open(first, &others, &call.options::<Selection>()?)?;
    blocks.check_weights(work.notice)?;
    // The order of the call again: the fit does not depend on it, its table does.
    let mut sources: Vec<&dyn VisSource> = blocks.others.iter().map(|b| b as &dyn VisSource).collect();
    sources.insert(i_reference, &blocks.reference);
    let fit = align_jointly(&sources, &options, work.notice)?;
    if let Some(BlockStatus::NotAligned(reason)) = fit.block(&fit.reference).map(|b| &b.status) {
        return Err(Error::data(format!("nothing can be aligned to {}: {reason}", fit.reference))
            .hint("choose another reference (option reference), say where emission may be (option support), or leave blocks out"));
    }
    let offsets = fit.blocks.iter().filter(|b| b.name != fit.reference);
    let offsets = offsets.map(|b| joint_offset(b, &fit)).collect::<Result<Vec<Value>>>()?;
    let fields = json!({
        "reference": fit.reference,
        "seed": fit.seed,
        "offsets": offsets,
        "support": fit.support.to_string(),
        "remarks": fit.remarks,
        "iterations": fit.iterations,
        "converged": fit.converged,
        "$figure": super::figures::common_sky_data(&fit),
    });
    record("Alignment", fit.to_string(), fields)
}

/// The place of a block in a list, by its name.
pub fn position(sets: &[SetArg], name: &str) -> Result<usize> {
    sets.iter().position(|s| s.name() == name).ok_or_else(|| {
        let names: Vec<String> = sets.iter().map(SetArg::name).collect();
        let near =
            crate::options::nearest(name, names.iter().map(String::as_str)).map(|n| format!("; did you mean \"{n}\"?")).unwrap_or_default();
        Error::user(format!("no block is named \"{name}\"{near}")).hint(format!("the blocks are: {}", names.join(", ")))
    })
}

fn joint_offset(b: &JointBlock, fit: &JointFit) -> Result<Value> {
    let measured = Measured {
        block: b.name.clone(),
        reference: fit.reference.clone(),
        method: "joint".into(),
        offset: b.offset.map(OffsetMas::from),
        sigma: b.sigma.map(OffsetMas::from),
        correlation: b.offset.map(|_| b.correlation),
        amplitude_ratio: b.offset.map(|_| b.gain),
        chi2_reduced: Some(b.chi2_reduced).filter(|c| c.is_finite()),
        beam: b.beam.map(BeamMas::from),
        cells: b.cells as u64,
        shared_cells: None,
        converged: b.status == BlockStatus::Aligned,
        reason: match &b.status {
            BlockStatus::NotAligned(reason) => reason.clone(),
            _ => String::new(),
        },
    };
    let mut value = record("Offset", measured.summary(), &measured)?;
    let finite = |x: f64| Some(x).filter(|x| x.is_finite());
    extend(
        &mut value,
        json!({ "ambiguity": finite(b.ambiguity), "significance": finite(b.significance), "scatter_factor": b.scatter_factor,
                "$figure": super::figures::joint_data(b) }),
    )?;
    Ok(value)
}

static BEST_BLOCK: Verb = Verb {
    name: "best_block",
    group: "Alignment",
    summary: "Returns the block of the highest signal to noise.",
    details: "Signal to noise is the square root of Σ (w |V|² − 2) over uv cells of the whole block: what a fit of a position can use.",
    inputs: &[Input::new("blocks", InputKind::MsList, "Sets, or blocks of sets.")],
    options: &[Selection::PARAMS],
    defaults: defaults::<Selection>,
    returns: "The set, as it was given.",
    effects: Effects::Reads,
    columns: Columns::Visibilities,
    examples: &[Example {
        title: "The deeper of two blocks.",
        script: "let s = simulate(\"demo\", #{ long: 1, short: 1, antennas: 8, integrations: 6 });\nfile_name(best_block(s.long + s.short))",
        result: "SB1.ms",
        tolerance: 0.0,
    }],
    check: check_options::<Selection>,
    run: |call, work| {
        let (sets, selection) = (SetArg::list(call.context, call.list(0))?, call.options::<Selection>()?);
        let mut best: Option<(f64, &Value)> = None;
        for (set, value) in sets.iter().zip(call.list(0)) {
            let grid = uv_grid(&set.select(&selection)?, &UvGridOptions::default(), work.notice)?;
            let snr = grid.signal_to_noise();
            if best.is_none_or(|(highest, _)| snr > highest) {
                best = Some((snr, value));
            }
        }
        best.map(|(_, value)| value.clone()).ok_or_else(|| Error::user("`best_block` got no blocks"))
    },
    ..Verb::EMPTY
};

crate::options! {
    /// Options of `uv_profile`.
    pub struct ProfileOptions {
        /// Rings of equal width in log uv distance.
        ["1"] bins: usize = PROFILE_BINS,
    }
}

static UV_PROFILE: Verb = Verb {
    name: "uv_profile",
    group: "Alignment",
    summary: "Averages a block and a reference in rings of the uv plane, before and after taking an offset out.",
    details: "Baselines are folded to the half plane along the offset, so that an offset shows as a phase that grows with the baseline.",
    inputs: &[
        Input::new("reference", InputKind::Ms, "The reference."),
        Input::new("ms", InputKind::Ms, "The block."),
        Input::new("offset", InputKind::Record("Offset"), "Its offset, from `find_offset` or `align_jointly`."),
    ],
    options: &[ProfileOptions::PARAMS, Selection::PARAMS],
    defaults: defaults2::<ProfileOptions, Selection>,
    returns: "UvProfile: `reference`, `before`, `after`: lists of rings (`uv_lambda`, `real_jy`, `imag_jy`, `sigma_jy`, `cells`)",
    effects: Effects::Reads,
    columns: Columns::Visibilities,
    examples: &[Example {
        title: "Rings hold the same cells before and after.",
        script: "let s = simulate(\"demo\", #{ long: 2, short: 0, antennas: 8, integrations: 6 });\nlet o = find_offset(s.long[0], s.long[1]);\n\
                 let p = uv_profile(s.long[0], s.long[1], o);\np.before[3].cells == p.after[3].cells",
        result: "true",
        tolerance: 0.0,
    }],
    check: check_options2::<ProfileOptions, Selection>,
    version: 4,
    run: run_uv_profile,
    ..Verb::EMPTY
};

fn run_uv_profile(call: &Call, work: &Work) -> Result<Value> {
    let (reference, block) = (SetArg::new(call.context, &call.args[0])?, SetArg::new(call.context, &call.args[1])?);
    let blocks = Blocks::open(&reference, &[block], &call.options::<Selection>()?)?;
    let options = UvGridOptions::default();
    let (reference, block) = (uv_grid(&blocks.reference, &options, work.notice)?, uv_grid(&blocks.others[0], &options, work.notice)?);
    let n_bins = call.options::<ProfileOptions>()?.bins;
    let measured: Measured =
        serde_json::from_value(call.args[2].clone()).map_err(|e| Error::internal(format!("an Offset record is damaged: {e}")))?;
    let offset = measured.offset.map_or(Offset::ZERO, |o| Offset::from_mas(o.dra_mas, o.ddec_mas));
    let mut fields = json!({
        "reference_name": reference.name(),
        "block_name": block.name(),
        "offset": measured,
    });
    let profile = uv_profile(&reference, &block, offset, n_bins);
    let rings = serde_json::to_value(profile).map_err(|e| Error::internal(format!("a profile: {e}")))?;
    extend(&mut fields, rings)?;
    record("UvProfile", format!("{} against {} in {n_bins} rings", block.name(), reference.name()), fields)
}
