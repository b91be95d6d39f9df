//! The verb that makes an image.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::data::{Beam, CardValue};
use crate::error::{Error, Result};
use crate::fits::read_header;
use crate::imaging::{
    AutoMaskOptions, CleanOptions, Deconvolver, ImageOptions, Imaged, StartModel, Unfinished, image, makes_mosaic, robust_noise,
};
use crate::ms::select::Selection;
use crate::notice::{Reporter, Warning};
use crate::script::value::record;
use crate::script::verb::{Call, Effects, Example, Files, Input, InputKind, OptionGroups, Verb, Work, check_groups, defaults_groups};
use crate::script::verbs::SetArg;
use crate::units::ARCSEC;

use super::mask::{self, MaskOptions};
use super::open::Pointings;
use super::products::{self, Header};

type Groups = (ImageOptions, CleanOptions, MaskOptions, AutoMaskOptions, Selection);

pub static IMAGE: Verb = Verb {
    name: "image",
    group: "Imaging",
    summary: "Makes an image or a cube of one or more sets: dirty image, PSF, CLEAN, restored image, primary beam.",
    details: "Total intensity of all sets together, without joining them. With niter 0 (the default) the image is the dirty image. Writes \
              PREFIX.psf, .dirty, .model, .residual, .image, .pb, .image.pbcor and .mask, each with `.fits`, all or none; mtmfs adds .tt0, .tt1 \
              and .alpha, mosaics .weight, `jvm` .JvMcorr.image and .JvMcorr_lowres.image, whose noise is scaled as well: they are no measure \
              of sensitivity (Casassus & Cárcamo 2022); `casa` each of them as a CASA image without the ending `.fits`.",
    inputs: &[
        Input::new("sets", InputKind::MsList, "The sets."),
        Input::new("prefix", InputKind::PrefixOut, "Beginning of the names of the images."),
    ],
    options: Groups::PARAMS,
    defaults: defaults_groups::<Groups>,
    returns: "Image: `files` (by ending: `image`, `psf`, `image.pbcor`, ..), `beam` (`bmaj_arcsec`, `bmin_arcsec`, `bpa_deg`), `peak_jy`, `noise_jy` \
              (of the residual), `expected_noise_jy`, `noise_increase`, `model_flux_jy`, `n_iter`, `stop`, `cycles` (one map a major cycle), \
              `gridder`, `choices`, `cell_arcsec`, `npix`, `n_planes`, `channels` (first and last that hold visibilities), `n_samples`, `dropped`, `jvm_epsilon`",
    effects: Effects::Writes,
    examples: &[
        Example {
            title: "A simulated source of 1 Jy comes back.",
            script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 8, integrations: 6, flux_error: 0.0, offset: \"0arcsec\", sky: [#{ flux: \"1Jy\" }] });\n\
                     let i = image(s.long, \"demo_image\", #{ spw: 0, cell: \"0.02arcsec\", npix: 128, niter: 100 });\ni.model_flux_jy",
            result: "1",
            tolerance: 0.01,
        },
        Example {
            title: "A cell that the longest baselines would alias in is refused before anything is made.",
            script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 5, integrations: 3 });\nimage(s.long, \"x\", #{ spw: 0, cell: \"0.5arcsec\", npix: 64 })",
            result: "error: cell 0.5000arcsec is too coarse",
            tolerance: 0.0,
        },
    ],
    see: "Högbom 1974, A&AS 15, 417; Clark 1980, A&A 89, 377; Cornwell 2008, IEEE JSTSP 2, 793; Rau & Cornwell 2011, A&A 532, A71; docs/conventions.md",
    version: 3,
    check: check_groups::<Groups>,
    files,
    run,
    ..Verb::EMPTY
};

/// Files of an image: whether it will be a mosaic, with weights, its sets say.
pub fn files(call: &Call) -> Result<Files> {
    let prefix = call.path_out(1)?;
    let options = call.options::<ImageOptions>()?;
    options.check()?;
    // What is wrong with the sets is said when they are imaged; in a dry run they may not be there yet.
    let mosaic = || makes_mosaic(&pointings(call)?.inputs(), &options);
    let writes = products::paths(&prefix, &options, mosaic().unwrap_or(false));
    Ok(Files { reads: mask::files(call, &call.options::<MaskOptions>()?)?, writes })
}

/// What the sets and the selection of a call mean.
pub fn pointings(call: &Call) -> Result<Pointings> {
    Pointings::open(&SetArg::list(call.context, call.list(0))?, &call.options::<Selection>()?)
}

fn run(call: &Call, work: &Work) -> Result<Value> {
    let options = call.options::<ImageOptions>()?;
    let mask_options = call.options::<MaskOptions>()?;
    let pointings = pointings(call)?;
    let mask = mask::choice(call, &mask_options, call.options::<AutoMaskOptions>()?, work.notice)?;
    let resume = Resume::new(call, work)?;
    let start = match mask::start_model(call, &mask_options, work.notice)? {
        Some(start) => Some(start),
        None => resume.model(work.notice)?,
    };
    let keep = |unfinished: &Unfinished| resume.keep(unfinished, &pointings);
    let imaged = image(&pointings.inputs(), &options, &call.options::<CleanOptions>()?, &mask, start, &keep, work.notice)?;
    let files = write(call, work, &pointings, &imaged, &options)?;
    resume.done(call);
    summary(&imaged, files)
}

/// The model of an interrupted image, kept beside its products-to-be for the next run of the same step.
pub struct Resume {
    path: PathBuf,
    /// Key of the step: a model of other data or options is not taken up.
    key: String,
}

/// Card that holds the key of the step.
const KEY_CARD: &str = "STEPKEY";
/// Card that holds the components that the model took.
const N_ITER_CARD: &str = "NITERDON";

impl Resume {
    pub fn new(call: &Call, work: &Work) -> Result<Resume> {
        let terms = call.options::<ImageOptions>()?.deconvolver == Deconvolver::Mtmfs;
        let path = products::path(&call.path_out(1)?, if terms { "unfinished.model.tt0" } else { "unfinished.model" });
        Ok(Resume { path, key: work.step.map(|s| s.key().to_string()).unwrap_or_default() })
    }

    /// The model of an interrupted run of the same step, if there is one.
    pub fn model(&self, notice: &dyn Reporter) -> Result<Option<StartModel>> {
        if self.key.is_empty() || !self.path.is_file() {
            return Ok(None);
        }
        let header = read_header(&self.path, None)?;
        if header.text(KEY_CARD).map(str::trim) != Some(self.key.as_str()) {
            return Ok(None);
        }
        let n_iter = header.number(N_ITER_CARD).map_or(0, |n| n.max(0.0) as u64);
        let message = format!("going on from the model of an interrupted run, {}", self.path.display());
        notice.warn(Warning::new("image-resumed", message).hint("delete the file to begin anew"));
        Ok(Some(StartModel { planes: mask::model_planes(&self.path, notice)?, n_iter, sky: None }))
    }

    /// Writes the model of an interrupted run.
    pub fn keep(&self, unfinished: &Unfinished, pointings: &Pointings) -> Result<()> {
        let mut meta = pointings.meta();
        meta.set(KEY_CARD, CardValue::Text(self.key.clone()), "");
        meta.set(N_ITER_CARD, CardValue::Int(unfinished.n_iter as i64), "");
        let header = Header { shape: unfinished.model[0].dim(), sky: unfinished.sky, spectral: &unfinished.spectral, meta: &meta };
        products::write_model(&self.path, unfinished.model, &header)
    }

    /// Removes the model of an interrupted run once the image is there, unless the user began with it.
    pub fn done(&self, call: &Call) {
        let begun_with = call.options::<MaskOptions>().ok().and_then(|o| call.context.sandbox.readable(&o.start_model).ok());
        if begun_with.as_ref() == Some(&self.path) {
            return;
        }
        for path in mask::term_files(&self.path).into_iter().filter(|p| p.is_file()) {
            // What is left behind is not taken up again: its step is done.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Writes all products of an image; returns their paths by ending.
pub fn write(call: &Call, work: &Work, pointings: &Pointings, imaged: &Imaged, options: &ImageOptions) -> Result<Map<String, Value>> {
    let mut meta = pointings.meta();
    if let Some(step) = work.step {
        meta.add_history(step.history());
    }
    let header = Header { shape: imaged.image[0].dim(), sky: &imaged.sky, spectral: &imaged.spectral, meta: &meta };
    let written = products::write(&call.path_out(1)?, &products::products(imaged, options), &header, options.casa)?;
    let mut files = Map::new();
    for (ending, path) in written {
        if let Some(step) = work.step {
            step.wrote(&path);
        }
        files.insert(ending, call.context.sandbox.show(&path).into());
    }
    Ok(files)
}

/// A beam as scripts read it.
pub fn beam_value(beam: Option<Beam>) -> Value {
    match beam {
        Some(b) => {
            json!({ "bmaj_arcsec": b.bmaj_rad() / ARCSEC, "bmin_arcsec": b.bmin_rad() / ARCSEC, "bpa_deg": b.bpa_rad().to_degrees() })
        }
        None => Value::Null,
    }
}

/// The record of an image.
pub fn summary(imaged: &Imaged, files: Map<String, Value>) -> Result<Value> {
    let image = &imaged.image;
    let peak =
        image.iter().step_by(imaged.n_terms).flat_map(|p| p.iter()).copied().filter(|v| v.is_finite()).fold(f32::NEG_INFINITY, f32::max);
    let noise = robust_noise(imaged.cleaned.residual.iter().step_by(imaged.n_terms).flat_map(|p| p.iter()));
    let beam = imaged.beams.iter().flatten().next().copied();
    let last = imaged.cleaned.record.last().ok_or_else(|| Error::internal("an image without a record"))?;
    let used: Vec<_> = imaged.planes().iter().filter(|p| p.sum_weight > 0.0).collect();
    // Taylor terms share the noise of the first.
    let middle = if imaged.n_terms > 1 { used.first() } else { used.get(used.len() / 2) };
    let (cell, shape) = (imaged.sky.cell_rad().0 / ARCSEC, image[0].dim());
    let text = format!(
        "{} x {} pixels of {:.4} arcsec, {} plane{}, beam {}, peak {:.4e} Jy/beam, noise {:.3e} Jy/beam, {} components in {} major cycles: {}",
        shape.1,
        shape.0,
        cell,
        image.len() / imaged.n_terms,
        if image.len() / imaged.n_terms == 1 { "" } else { "s" },
        beam.map_or("not fitted".into(), |b| b.to_string()),
        peak,
        noise,
        last.n_iter,
        last.cycle,
        imaged.cleaned.stop
    );
    let fields = json!({
        "files": files,
        "beam": beam_value(beam),
        "peak_jy": peak,
        "noise_jy": noise,
        "expected_noise_jy": middle.map(|p| p.noise_jy),
        "noise_increase": middle.map(|p| p.noise_increase),
        "model_flux_jy": last.flux_jy,
        "n_iter": last.n_iter,
        "stop": imaged.cleaned.stop,
        "stop_reason": imaged.cleaned.stop.to_string(),
        "cycles": imaged.cleaned.record,
        "gridder": imaged.gridder,
        "choices": imaged.choices,
        "cell_arcsec": cell,
        "npix": [shape.1, shape.0],
        "n_planes": image.len() / imaged.n_terms,
        "channels": imaged.channels_seen(),
        "n_samples": imaged.planes().iter().map(|p| p.n_samples).sum::<u64>(),
        "dropped": imaged.dirty.dropped,
        "jvm_epsilon": imaged.jvm.as_ref().and_then(|j| j.epsilon.first().copied()),
    });
    record("Image", text, fields)
}
