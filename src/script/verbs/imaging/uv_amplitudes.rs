//! Amplitudes of data, model and residual against uv distance, and their figure.

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::imaging::{Predictor, PrimaryBeam, uv_amplitudes};
use crate::ms::select::Selection;
use crate::options;
use crate::options::Options;
use crate::plot::imaging::{AmplitudeFigure, AmplitudePoint};
use crate::script::value::record;
use crate::script::verb::{Call, Effects, Example, Input, InputKind, Verb, Work, check_options, check_options2, defaults, defaults2};
use crate::script::verbs::SetArg;
use crate::script::verbs::figures::{TitleOptions, show};

use super::open::Pointings;
use super::predict::{model_files, read_model};

options! {
    /// Options of amplitudes against uv distance.
    pub struct AmplitudeOptions {
        /// Rings, equally wide in the logarithm of the length over three decades.
        ["1"] bins: usize = 36,
        /// Multiply the model with the primary beam of each pointing.
        [""] primary_beam: bool = false,
    }
}

pub static UV_AMPLITUDES: Verb = Verb {
    name: "uv_amplitudes",
    group: "Imaging",
    summary: "Averages the amplitudes of data, model and residual in rings of baseline length.",
    details: "Root mean squares with the noise power that the weights give taken out: they do not vanish where phases turn within a ring.",
    inputs: &[
        Input::new("sets", InputKind::MsList, "The sets."),
        Input::new(
            "model",
            InputKind::FileIn,
            "FITS model, Jy/pixel: `PREFIX.model.fits` of `image`, or `PREFIX.model.tt0.fits` with its further terms.",
        ),
    ],
    options: &[AmplitudeOptions::PARAMS, Selection::PARAMS],
    defaults: defaults2::<AmplitudeOptions, Selection>,
    returns: "UvAmplitudes: `bins`, each with `uv_klambda`, `data_jy`, `model_jy`, `residual_jy`, `noise_jy`, `n`",
    effects: Effects::Reads,
    examples: &[Example {
        title: "A point source has its flux on all baselines.",
        script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 8, integrations: 6, rms: \"1uJy\", flux_error: 0.0, offset: \"0arcsec\", sky: [#{ flux: \"1Jy\" }], spectral_index: 0.0 });\n\
                 let i = image(s.long, \"a\", #{ spw: 0, cell: \"0.02arcsec\", npix: 128, niter: 300, gain: 0.5 });\nuv_amplitudes(s.long, i.files.model, #{ spw: 0, bins: 4 }).bins[0].data_jy",
        result: "1",
        tolerance: 1e-3,
    }],
    version: 2,
    check: check_options2::<AmplitudeOptions, Selection>,
    files: model_files,
    run: measure,
    ..Verb::EMPTY
};

fn measure(call: &Call, work: &Work) -> Result<Value> {
    let options = call.options::<AmplitudeOptions>()?;
    let model = read_model(&call.path_in(1)?, work.notice)?;
    let pointings = Pointings::open(&SetArg::list(call.context, call.list(0))?, &call.options::<Selection>()?)?;
    let inputs = pointings.inputs();
    let beam = |i: usize| -> Result<Option<PrimaryBeam>> {
        let array = inputs[i].array;
        if !options.primary_beam {
            return Ok(None);
        }
        Ok(Some(PrimaryBeam::of_telescope(&array.telescope, array.typical_dish_m(), work.notice)?))
    };
    let predictors = (0..inputs.len()).map(|i| Predictor::new(inputs[i], &model, beam(i)?)).collect::<Result<Vec<_>>>()?;
    let bins = uv_amplitudes(&inputs, &predictors, options.bins, work.notice)?;
    record("UvAmplitudes", format!("{} rings of baseline length", bins.len()), json!({ "bins": bins }))
}

pub static PLOT_UV_AMPLITUDES: Verb = Verb {
    name: "plot_uv_amplitudes",
    group: "Figures",
    summary: "Shows amplitudes of data, model and residual against uv distance.",
    inputs: &[
        Input::new("amplitudes", InputKind::Record("UvAmplitudes"), "A result of `uv_amplitudes`."),
        Input::new("png", InputKind::FileOut, "PNG file."),
    ],
    options: &[TitleOptions::PARAMS],
    defaults: defaults::<TitleOptions>,
    returns: "`figure`: its path; `alt`: what it shows, in words",
    effects: Effects::Shows,
    examples: &[Example {
        title: "A disk and its model.",
        script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 6, integrations: 3 });\nlet i = image(s.long, \"a\", #{ spw: 0, cell: \"0.03arcsec\", npix: 64, niter: 50 });\n\
                 plot_uv_amplitudes(uv_amplitudes(s.long, i.files.model, #{ spw: 0 }), \"uv.png\").figure",
        result: "uv.png",
        tolerance: 0.0,
    }],
    check: check_options::<TitleOptions>,
    run: |call, work| {
        let damaged = |e: serde_json::Error| Error::internal(format!("the record of amplitudes is damaged: {e}"));
        let bins = call.args[0].get("bins").cloned().unwrap_or(Value::Null);
        let points: Vec<AmplitudePoint> = serde_json::from_value(bins).map_err(damaged)?;
        let title = call.options::<TitleOptions>()?.title;
        show(call, work, 1, &AmplitudeFigure { points, title })
    },
    ..Verb::EMPTY
};
