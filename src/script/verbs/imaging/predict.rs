//! Visibilities of a model: predicted, or taken out of a set.

use std::path::Path;

use ndarray::Array3;
use num_complex::Complex32;
use serde::{Deserialize, Serialize};

use crate::data::{Corr, VisBlock};
use crate::error::{Error, Result};
use crate::fits::{ReadOptions, read_cube};
use crate::gridding::Geometry;
use crate::imaging::{ChannelGrid, Interpolation, Model, Predictor, PrimaryBeam};
use crate::ms::select::Selection;
use crate::ms::{HistoryEntry, rewrite_visibilities};
use crate::notice::Reporter;
use crate::options;
use crate::options::Options;
use crate::script::verb::{Call, Effects, Example, Files, Input, InputKind, Verb, Work, check_options, defaults};
use crate::script::verbs::SetArg;
use crate::script::verbs::data::set_record;
use crate::sky::SpectralFrame;

use super::mask::{model_planes, term_files};
use super::open::Pointings;

/// What becomes of the visibilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// The model's visibilities alone.
    #[default]
    Replace,
    /// Data minus model: residual visibilities.
    Subtract,
    /// Data plus model.
    Add,
}

options! {
    /// Options of the prediction of visibilities.
    pub struct PredictOptions {
        /// `replace`: the model alone; `subtract`: data minus model; `add`: data plus model.
        [""] operation: Operation = Operation::Replace,
        /// Column of data that the model is subtracted from or added to: `auto` is CORRECTED_DATA where present, else DATA.
        [""] datacolumn: String = "auto".to_string(),
        /// Column that is written; empty is MODEL_DATA for `replace`, the column of data otherwise.
        [""] column: String = String::new(),
        /// Multiply the model with the primary beam of each pointing.
        [""] primary_beam: bool = false,
    }
}

pub static PREDICT: Verb = Verb {
    name: "predict",
    group: "Imaging",
    summary: "Writes a copy of a set with the visibilities of a model: in MODEL_DATA, or subtracted from the data.",
    details: "The model is a FITS image or cube in Jy/pixel, `PREFIX.model.fits` of `image`, or `PREFIX.model.tt0.fits` with its further \
              Taylor terms beside it; between the channels of a cube visibilities are \
              interpolated, beyond its ends they are 0. The w-term counts. A model of flat noise is seen without the primary beam.",
    inputs: &[
        Input::new("ms", InputKind::Ms, "The set."),
        Input::new("model", InputKind::FileIn, "FITS model, Jy/pixel."),
        Input::new("out", InputKind::FileOut, "The set to make."),
    ],
    options: &[PredictOptions::PARAMS],
    defaults: defaults::<PredictOptions>,
    returns: "MeasurementSet: `path`, `name`",
    effects: Effects::Writes,
    examples: &[Example {
        title: "Without its model a set has an empty image.",
        script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 8, integrations: 6, rms: \"0Jy\", flux_error: 0.0, offset: \"0arcsec\", sky: [#{ flux: \"1Jy\" }], spectral_index: 0.0 });\n\
                 let grid = #{ spw: 0, cell: \"0.02arcsec\", npix: 128 };\nlet i = image(s.long, \"a\", grid + #{ niter: 200, gain: 0.5 });\n\
                 let left = predict(s.long[0], i.files.model, \"left.ms\", #{ operation: \"subtract\" });\nimage_stats(image([left], \"b\", grid).files.dirty).peak < 1e-3",
        result: "true",
        tolerance: 0.0,
    }],
    version: 2,
    check: check_options::<PredictOptions>,
    files: model_files,
    run,
    ..Verb::EMPTY
};

/// The further terms of a model are read too.
pub fn model_files(call: &Call) -> Result<Files> {
    Ok(Files { reads: term_files(&call.path_in(1)?).split_off(1), writes: vec![] })
}

fn run(call: &Call, work: &Work) -> Result<serde_json::Value> {
    let options = call.options::<PredictOptions>()?;
    let set = SetArg::new(call.context, &call.args[0])?;
    let model_path = call.path_in(1)?;
    let model = read_model(&model_path, work.notice)?;
    let selection = Selection { datacolumn: options.datacolumn.clone(), ..Default::default() };
    let pointings = Pointings::open_whole(std::slice::from_ref(&set), &selection)?;
    let inputs = pointings.inputs();
    let beam = |i: usize| -> Result<Option<PrimaryBeam>> {
        if !options.primary_beam {
            return Ok(None);
        }
        let array = inputs[i].array;
        Ok(Some(PrimaryBeam::of_telescope(&array.telescope, array.typical_dish_m(), work.notice)?))
    };
    let predictors = (0..inputs.len()).map(|i| Predictor::new(inputs[i], &model, beam(i)?)).collect::<Result<Vec<_>>>()?;
    let column = match (options.column.as_str(), options.operation) {
        ("", Operation::Replace) => "MODEL_DATA".to_string(),
        ("", _) => pointings.data_column(),
        (name, _) => name.to_string(),
    };
    let change = |i: usize, block: &VisBlock| Ok(changed(block, &predictors[i].predict(block)?, options.operation));
    let history = HistoryEntry::new("predict", format!("model {} into {column}", model_path.display()), &options);
    let opened = set.open()?;
    let path = rewrite_visibilities(&opened, &pointings.selected(), &column, &call.path_out(2)?, &history, &change, work.notice)?;
    set_record(call, &path)
}

/// New visibilities [row, chan, corr] from those of the block and total intensity [row][chan].
fn changed(block: &VisBlock, model: &[Complex32], operation: Operation) -> Array3<Complex32> {
    let n_chan = block.freq_hz.len();
    let zero = Complex32::new(0.0, 0.0);
    Array3::from_shape_fn(block.vis_rfc.dim(), |(row, chan, corr)| {
        let carries = matches!(block.corr[corr], Corr::I | Corr::XX | Corr::YY | Corr::RR | Corr::LL);
        let m = if carries { model[row * n_chan + chan] } else { zero };
        match operation {
            Operation::Replace => m,
            Operation::Subtract => block.vis_rfc[[row, chan, corr]] - m,
            Operation::Add => block.vis_rfc[[row, chan, corr]] + m,
        }
    })
}

/// A model image or cube with square pixels.
pub fn read_model(path: &Path, notice: &dyn Reporter) -> Result<Model> {
    let cube = read_cube(path, &ReadOptions::default(), notice)?;
    let info = cube.info();
    if !matches!(info.unit.as_str(), "Jy/pixel" | "Jy" | "") {
        return Err(Error::user(format!("the model is in {}; expected Jy/pixel", info.unit))
            .hint("use PREFIX.model.fits, not the restored image")
            .at(path));
    }
    let spectral = info.spectral();
    let channels = if info.n_chan() > 1 {
        let first_hz = spectral.freq_hz(0.0)?;
        let step_hz = (spectral.freq_hz((info.n_chan() - 1) as f64)? - first_hz) / (info.n_chan() - 1) as f64;
        Some(ChannelGrid { first_hz, step_hz, n_chan: info.n_chan(), interpolation: Interpolation::Linear })
    } else {
        None
    };
    let keys = info.sky().keys();
    let geometry =
        Geometry { nx: info.nx(), ny: info.ny(), cell_rad: info.sky().cell_rad().0, center: (keys.crpix[0] - 1.0, keys.crpix[1] - 1.0) };
    let frame = spectral.frame().unwrap_or(SpectralFrame::Lsrk);
    let planes = model_planes(path, notice)?;
    let taylor_hz = if channels.is_none() && planes.len() > 1 { Some(spectral.freq_hz(0.0)?) } else { None };
    Ok(Model { taylor_hz, planes, geometry, center: info.sky().center(), frame, channels })
}
