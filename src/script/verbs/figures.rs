//! Figures of the alignment, from the records of the fits.

use base64::Engine as _;
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::align::{JointBlock, JointFit, OffsetFit, PROFILE_BINS, ProfileBin, UvGrid, UvProfile};
use crate::error::{Error, Result};
use crate::plot::align::{
    BlockFit, BlockShift, CommonSkyFigure, CostSurface, OffsetMas as PlotOffset, ProfileBin as PlotBin, ShiftsFigure, UvOverlapFigure,
    UvProfileFigure,
};
use crate::plot::{Plot, SkyImage};
use crate::run::Hash;
use crate::run::record::Figure;
use crate::script::verb::{Call, Effects, Example, Input, InputKind, Verb, Work};
use crate::units::{ARCSEC, MAS};

use super::align::Measured;

/// The verbs of this group.
pub static VERBS: &[&Verb] = &[&PLOT_UV_OVERLAP, &PLOT_SHIFTS, &PLOT_UV_PROFILE, &PLOT_COMMON_SKY];

crate::options! {
    /// Options of a figure with a headline.
    pub struct TitleOptions {
        /// Headline.
        [""] title: String = String::new(),
    }
}

/// Writes a figure into the project and tells the run.
pub fn show(call: &Call, work: &Work, i_file: usize, figure: &impl Plot) -> Result<Value> {
    let path = call.path_out(i_file)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("make the folder of a figure", folder, e))?;
    }
    let alt = figure.write(&path)?;
    if let Some(step) = work.step {
        let (width, height) = png_size(&path);
        let name = path.display().to_string();
        step.figure(Figure { path: name, width, height, alt: alt.clone(), ..Default::default() });
    }
    Ok(json!({ "figure": call.context.sandbox.show(&path), "alt": alt }))
}

/// Width and height in pixels, from the header of a PNG file.
fn png_size(path: &std::path::Path) -> (u32, u32) {
    let mut head = [0u8; 24];
    let read = std::fs::File::open(path).and_then(|mut f| std::io::Read::read_exact(&mut f, &mut head));
    let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if read.is_ok() { (number(16), number(20)) } else { (0, 0) }
}

/// What a record keeps for its figure, from the record itself or from the store.
pub fn figure_data<T: serde::de::DeserializeOwned>(call: &Call, value: &Value) -> Result<Option<T>> {
    let damaged =
        |e: serde_json::Error| Error::internal(format!("the figure data of a fit are damaged: {e}")).hint("run again with --force");
    let Some(data) = value.get("$figure").filter(|d| !d.is_null()) else { return Ok(None) };
    let Some(name) = data.get("$stored").and_then(Value::as_str) else {
        return serde_json::from_value(data.clone()).map(Some).map_err(damaged);
    };
    let bytes = Hash::from_hex(name).and_then(|hash| call.context.session.store().get(&hash));
    match bytes {
        Some(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(damaged),
        None => Err(Error::data("the figure data of an earlier run are no longer in the store").hint("run again with --force")),
    }
}

/// Samples in uv cells: (ku, kv, count) of the half plane, as little-endian i32 in base64.
#[derive(Debug, Serialize, Deserialize)]
struct Counts(String);

impl Counts {
    fn new(grid: &UvGrid) -> Counts {
        let numbers: Vec<i32> = grid.cells().iter().flat_map(|c| [c.ku, c.kv, c.count.min(i32::MAX as u32) as i32]).collect();
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        Counts(base64::engine::general_purpose::STANDARD.encode(bytes))
    }

    fn cells(&self) -> Result<Vec<[i32; 3]>> {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(&self.0)
            .map_err(|e| Error::internal(format!("a stored uv grid is damaged: {e}")))?;
        let numbers: Vec<i32> = bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok(numbers.chunks_exact(3).map(|c| [c[0], c[1], c[2]]).collect())
    }
}

/// What the figures of an offset need, kept with its record.
#[derive(Debug, Serialize, Deserialize)]
struct OffsetData {
    /// Of a pairwise fit.
    overlap: Option<UvOverlapData>,
    profile: Option<UvProfile>,
}

/// The cells of a pairwise fit and its objective.
#[derive(Debug, Serialize, Deserialize)]
struct UvOverlapData {
    cell_klambda: f64,
    reference: Counts,
    block: Counts,
    dra_mas: Vec<f64>,
    ddec_mas: Vec<f64>,
    delta: Vec<f32>,
    levels: Option<[f64; 3]>,
}

/// The data of figures from a pairwise fit.
pub fn pair_data(fit: &OffsetFit) -> Value {
    let surface = fit.cost_surface(None, 81);
    let mas = |v: &[f64]| v.iter().map(|x| x / MAS).collect::<Vec<f64>>();
    let overlap = UvOverlapData {
        cell_klambda: fit.spec.cell_lambda() / 1e3,
        reference: Counts::new(&fit.reference_grid),
        block: Counts::new(&fit.block_grid),
        dra_mas: mas(&surface.dra_rad),
        ddec_mas: mas(&surface.ddec_rad),
        delta: surface.delta.iter().map(|x| *x as f32).collect(),
        levels: surface.levels,
    };
    let data = OffsetData { overlap: Some(overlap), profile: fit.converged.then(|| fit.profile(PROFILE_BINS)) };
    serde_json::to_value(data).unwrap_or(Value::Null)
}

/// The data of figures from a block of a joint fit.
pub fn joint_data(block: &JointBlock) -> Value {
    serde_json::to_value(OffsetData { overlap: None, profile: block.profile.clone() }).unwrap_or(Value::Null)
}

fn measured(value: &Value) -> Result<Measured> {
    serde_json::from_value(value.clone()).map_err(|e| Error::internal(format!("an Offset record is damaged: {e}")))
}

fn plot_offset(m: &Measured) -> Option<PlotOffset> {
    let (o, s) = (m.offset?, m.sigma);
    Some(PlotOffset {
        dra: o.dra_mas,
        ddec: o.ddec_mas,
        sigma_dra: s.map_or(f64::NAN, |s| s.dra_mas),
        sigma_ddec: s.map_or(f64::NAN, |s| s.ddec_mas),
    })
}

static PLOT_UV_OVERLAP: Verb = Verb {
    name: "plot_uv_overlap",
    group: "Figures",
    summary: "Shows where in the uv plane two blocks can be compared, and the cost surface of their offset.",
    details: "Panels: samples per cell of the reference, of the block, of both; and Δχ² about the minimum with contours at 1, 2 and 3 sigma.",
    inputs: &[
        Input::new("fit", InputKind::Record("Offset"), "A result of `find_offset`."),
        Input::new("file", InputKind::FileOut, "PNG file."),
    ],
    returns: "`figure`: its path; `alt`: what it shows, in words",
    effects: Effects::Shows,
    examples: &[Example {
        title: "The overlap of two simulated blocks.",
        script: "let s = simulate(\"demo\", #{ long: 2, short: 0, antennas: 8, integrations: 6 });\nplot_uv_overlap(find_offset(s.long[0], s.long[1]), \"overlap.png\").figure",
        result: "overlap.png",
        tolerance: 0.0,
    }],
    run: plot_uv_overlap,
    ..Verb::EMPTY
};

fn plot_uv_overlap(call: &Call, work: &Work) -> Result<Value> {
    let fit = &call.args[0];
    let m = measured(fit)?;
    let data = match figure_data::<OffsetData>(call, fit)?.and_then(|data| data.overlap) {
        Some(data) => data,
        None => {
            return Err(Error::user("`plot_uv_overlap`: this Offset comes from a joint fit, which shares no cells")
                .hint("use the result of `find_offset`"));
        }
    };
    let (reference, block) = (data.reference.cells()?, data.block.cells()?);
    let half = reference.iter().chain(&block).map(|c| c[0].abs().max(c[1].abs())).max().unwrap_or(0) as usize;
    let (reference, block) = (image(&reference, half), image(&block, half));
    let shape = (data.ddec_mas.len(), data.dra_mas.len());
    let cost = Array2::from_shape_vec(shape, data.delta).ok();
    let figure = UvOverlapFigure {
        reference_name: m.reference.clone(),
        block_name: m.block.clone(),
        cell_klambda: data.cell_klambda,
        reference,
        block,
        cells_reference: fit.get("cells_reference").and_then(Value::as_u64).unwrap_or(0) as usize,
        cells_block: m.cells as usize,
        cells_shared: m.shared_cells.unwrap_or(0) as usize,
        offset: plot_offset(&m),
        cost: cost.map(|delta| CostSurface { dra_mas: data.dra_mas, ddec_mas: data.ddec_mas, delta, levels: data.levels }),
    };
    show(call, work, 1, &figure)
}

/// Counts on the full plane; cell (half, half) is u = v = 0.
fn image(cells: &[[i32; 3]], half: usize) -> Array2<f32> {
    let n = 2 * half + 1;
    let mut image = Array2::zeros((n, n));
    for &[ku, kv, count] in cells {
        for sign in [1, -1] {
            let (i, j) = (half as i32 + sign * ku, half as i32 + sign * kv);
            image[[j as usize, i as usize]] = count as f32;
        }
    }
    image
}

static PLOT_SHIFTS: Verb = Verb {
    name: "plot_shifts",
    group: "Figures",
    summary: "Shows the required shift of each block with its error and its beam, before and after.",
    inputs: &[
        Input::new("before", InputKind::Records("Offset"), "Offsets of the original sets."),
        Input::new("after", InputKind::Records("Offset"), "Offsets of the shifted sets; may be empty."),
        Input::new("file", InputKind::FileOut, "PNG file."),
    ],
    returns: "`figure`: its path; `alt`: what it shows, in words",
    effects: Effects::Shows,
    examples: &[Example {
        title: "One block, before its shift.",
        script: "let s = simulate(\"demo\", #{ long: 2, short: 0, antennas: 8, integrations: 6 });\nplot_shifts([find_offset(s.long[0], s.long[1])], [], \"shifts.png\").figure",
        result: "shifts.png",
        tolerance: 0.0,
    }],
    run: plot_shifts,
    ..Verb::EMPTY
};

fn plot_shifts(call: &Call, work: &Work) -> Result<Value> {
    let before: Vec<Measured> = call.list(0).iter().map(measured).collect::<Result<_>>()?;
    let after: Vec<Measured> = call.list(1).iter().map(measured).collect::<Result<_>>()?;
    let find_after = |name: &str| after.iter().find(|a| a.block == name || a.block == format!("{name}_shift"));
    let blocks = before
        .iter()
        .map(|b| BlockShift {
            name: b.block.clone(),
            before: plot_offset(b),
            after: find_after(&b.block).and_then(plot_offset),
            beam: b.beam.map(|beam| crate::plot::mark::Beam { major: beam.bmaj_mas, minor: beam.bmin_mas, angle_deg: beam.bpa_deg }),
        })
        .collect();
    let reference_name = before.first().map_or(String::new(), |b| b.reference.clone());
    show(call, work, 2, &ShiftsFigure { reference_name, blocks })
}

static PLOT_UV_PROFILE: Verb = Verb {
    name: "plot_uv_profile",
    group: "Figures",
    summary: "Shows amplitude and phase against uv distance, of a block and the reference, before and after the shift.",
    inputs: &[
        Input::new(
            "profile",
            InputKind::EitherRecord("Offset", "UvProfile"),
            "An offset, drawn from the cells of its fit, or a result of `uv_profile`.",
        ),
        Input::new("file", InputKind::FileOut, "PNG file."),
    ],
    returns: "`figure`: its path; `alt`: what it shows, in words",
    effects: Effects::Shows,
    examples: &[Example {
        title: "Two simulated blocks.",
        script: "let s = simulate(\"demo\", #{ long: 2, short: 0, antennas: 8, integrations: 6 });\nlet o = find_offset(s.long[0], s.long[1]);\n\
                 plot_uv_profile(o, \"profile.png\").figure",
        result: "profile.png",
        tolerance: 0.0,
    }],
    version: 2,
    run: plot_uv_profile,
    ..Verb::EMPTY
};

fn plot_uv_profile(call: &Call, work: &Work) -> Result<Value> {
    let given = &call.args[0];
    let (p, offset) = match given.get("offset").filter(|_| given.get("before").is_some()) {
        Some(offset) => (rings(given)?, measured(offset)?),
        None => {
            let offset = measured(given)?;
            let profile = figure_data::<OffsetData>(call, given)?.and_then(|data| data.profile);
            (profile.ok_or_else(|| no_profile(&offset))?, offset)
        }
    };
    let highest = p.reference.iter().chain(&p.before).map(ProfileBin::amplitude_jy).fold(0.0, f64::max);
    let (unit, factor) = if highest < 0.3 { ("mJy", 1e3) } else { ("Jy", 1.0) };
    let bins = |bins: &[ProfileBin]| bins.iter().map(|b| plot_bin(b, factor)).collect::<Vec<PlotBin>>();
    let figure = UvProfileFigure {
        reference_name: offset.reference.clone(),
        block_name: offset.block.clone(),
        unit: unit.into(),
        reference: bins(&p.reference),
        before: bins(&p.before),
        after: bins(&p.after),
        offset: plot_offset(&offset),
    };
    show(call, work, 1, &figure)
}

fn rings(value: &Value) -> Result<UvProfile> {
    serde_json::from_value(value.clone()).map_err(|e| Error::internal(format!("a UvProfile record is damaged: {e}")))
}

fn no_profile(offset: &Measured) -> Error {
    Error::user(format!("`plot_uv_profile`: {} has no offset: {}", offset.block, offset.reason))
        .hint("`uv_profile` compares any two sets with an offset of your own")
}

/// Phase errors are those of a vector whose two components have the error `sigma_jy`; without signal every phase is possible.
fn plot_bin(b: &ProfileBin, factor: f64) -> PlotBin {
    PlotBin {
        uv_klambda: b.uv_lambda / 1e3,
        amplitude: b.amplitude_jy() * factor,
        sigma_amplitude: b.sigma_jy * factor,
        phase_deg: b.phase_rad().to_degrees(),
        sigma_phase_deg: (b.sigma_jy / b.amplitude_jy()).to_degrees().min(180.0),
    }
}

/// What the figure of a joint fit needs, kept in its record.
#[derive(Debug, Serialize, Deserialize)]
struct CommonSkyData {
    n_x: usize,
    pixel_arcsec: f64,
    center_east_arcsec: f64,
    center_north_arcsec: f64,
    image: Vec<f32>,
    envelope: Vec<f32>,
    blocks: Vec<(String, f64, bool)>,
}

/// The data of [`plot_common_sky`] from a fit.
pub fn common_sky_data(fit: &JointFit) -> Value {
    let arcsec = |rad: f64| rad / ARCSEC;
    let data = CommonSkyData {
        n_x: fit.image.data.ncols(),
        pixel_arcsec: arcsec(fit.image.pixel_rad),
        center_east_arcsec: arcsec(fit.image.center.dra_rad),
        center_north_arcsec: arcsec(fit.image.center.ddec_rad),
        image: fit.image.data.iter().map(|x| *x as f32).collect(),
        envelope: fit.envelope.data.iter().map(|x| *x as f32).collect(),
        blocks: fit.blocks.iter().map(|b| (b.name.clone(), b.chi2_reduced, b.offset.is_some() || b.name == fit.reference)).collect(),
    };
    serde_json::to_value(data).unwrap_or(Value::Null)
}

static PLOT_COMMON_SKY: Verb = Verb {
    name: "plot_common_sky",
    group: "Figures",
    summary: "Shows the sky that a joint alignment found, and how well each block agrees with it.",
    inputs: &[
        Input::new("fit", InputKind::Record("Alignment"), "A result of `align_jointly`."),
        Input::new("file", InputKind::FileOut, "PNG file."),
    ],
    returns: "`figure`: its path; `alt`: what it shows, in words",
    effects: Effects::Shows,
    examples: &[Example {
        title: "The sky of three simulated blocks.",
        script: "let s = simulate(\"demo\", #{ long: 2, short: 1 });\nplot_common_sky(align_jointly(s.long + s.short, #{ spw: 0 }), \"sky.png\").figure",
        result: "sky.png",
        tolerance: 0.0,
    }],
    run: plot_common_sky,
    ..Verb::EMPTY
};

fn plot_common_sky(call: &Call, work: &Work) -> Result<Value> {
    let Some(data) = figure_data::<CommonSkyData>(call, &call.args[0])? else {
        return Err(Error::internal("an Alignment record has no figure data"));
    };
    let n_x = data.n_x.max(1);
    let shape = (data.image.len() / n_x, n_x);
    let damaged = |_| Error::internal("the sky of an Alignment record is damaged");
    // Maps of the fit have x to the east; figures have it to the west, as images do.
    let flipped = |v: Vec<f32>| Array2::from_shape_vec(shape, v).map(|a| a.slice(ndarray::s![.., ..;-1]).to_owned()).map_err(damaged);
    let values = flipped(data.image)?.mapv(|x| x * 1e3 / (data.pixel_arcsec * data.pixel_arcsec) as f32);
    let envelope = flipped(data.envelope)?;
    let middle = [(n_x - 1 - n_x / 2) as f64, (shape.0 / 2) as f64];
    let center_px = [middle[0] + data.center_east_arcsec / data.pixel_arcsec, middle[1] - data.center_north_arcsec / data.pixel_arcsec];
    let figure = CommonSkyFigure {
        sky: SkyImage { values, cell_arcsec: [data.pixel_arcsec; 2], center_px, beam: None },
        label: "Intensity (mJy arcsec^{-2})".into(),
        support: Some(envelope.mapv(|e| e > 0.5)),
        blocks: data.blocks.into_iter().map(|(name, chi2_reduced, aligned)| BlockFit { name, chi2_reduced, aligned }).collect(),
    };
    show(call, work, 1, &figure)
}
