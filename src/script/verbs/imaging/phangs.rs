//! The verb that images as PHANGS-ALMA does.

use serde_json::{Value, json};

use crate::error::Result;
use crate::imaging::{AutoMaskOptions, ImageOptions, LoopRecord, PhangsOptions, Unfinished, phangs_image};
use crate::ms::select::Selection;
use crate::script::verb::{Call, Effects, Example, Input, InputKind, OptionGroups, Verb, Work, check_groups, defaults_groups};

use super::image::{self, Resume};
use super::mask::{self, MaskOptions};

type Groups = (ImageOptions, PhangsOptions, MaskOptions, Selection);

pub static IMAGE_PHANGS: Verb = Verb {
    name: "image_phangs",
    group: "Imaging",
    summary: "Images and cleans as the PHANGS-ALMA pipeline does: multiscale to 4 sigma in the clean mask, then single-scale to 1 sigma where signal is.",
    details: "Each stage is a loop of calls with growing iterations, whose threshold is a multiple of the residual's noise, measured anew before each; \
              it ends once the flux of the model changes by less than a hundredth. Without a clean mask everything above `pblimit` (0.5) may be \
              cleaned. Names of the products as those of `image`.",
    inputs: &[
        Input::new("sets", InputKind::MsList, "The sets."),
        Input::new("prefix", InputKind::PrefixOut, "Beginning of the names of the images."),
    ],
    options: Groups::PARAMS,
    defaults: defaults_groups::<Groups>,
    returns: "Image, as `image`; with `multiscale` and `singlescale` (one map a call: `loop_number`, `niter`, `cycleniter`, `threshold_jy`, `noise_jy`, \
              `model_flux_jy`, `frac_delta_flux`) `record` (both as the pipeline writes them), and `statistics` (of the residual inside the mask: `max`, `p99`, `p95`, `p90`, and `noise`)",
    effects: Effects::Writes,
    examples: &[Example {
        title: "Both stages of a small cube make at least four calls each.",
        script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 8, integrations: 4, channels: 3, flags: false, flux_error: 0.0, offset: \"0arcsec\", sky: [#{ flux: \"1Jy\" }] });\n\
                 let i = image_phangs(s.long, \"cube\", #{ spw: 0, mode: \"cube\", cell: \"0.03arcsec\", npix: 64, clean_scales: [\"0arcsec\", \"0.1arcsec\"] });\ni.multiscale.len() >= 4 && i.singlescale.len() >= 4",
        result: "true",
        tolerance: 0.0,
    }],
    see: "Leroy et al. 2021, ApJS 255, 19",
    version: 3,
    check: check_groups::<Groups>,
    files: image::files,
    run,
    ..Verb::EMPTY
};

fn run(call: &Call, work: &Work) -> Result<Value> {
    let options = call.options::<ImageOptions>()?;
    let pointings = image::pointings(call)?;
    let mask = mask::choice(call, &call.options::<MaskOptions>()?, AutoMaskOptions::default(), work.notice)?;
    let resume = Resume::new(call, work)?;
    let start = match mask::start_model(call, &call.options::<MaskOptions>()?, work.notice)? {
        Some(start) => Some(start),
        None => resume.model(work.notice)?,
    };
    let keep = |unfinished: &Unfinished| resume.keep(unfinished, &pointings);
    let made = phangs_image(&pointings.inputs(), &options, &call.options::<PhangsOptions>()?, &mask, start, &keep, work.notice)?;
    let files = image::write(call, work, &pointings, &made.imaged, &options)?;
    resume.done(call);
    let mut value = image::summary(&made.imaged, files)?;
    let more = json!({
        "multiscale": made.multiscale_record, "singlescale": made.singlescale_record, "statistics": made.statistics,
        "record": [record_text(&made.multiscale_record, "multiscale"), record_text(&made.singlescale_record, "hogbom")],
    });
    crate::script::verbs::align::extend(&mut value, more)?;
    Ok(value)
}

/// The record of a stage as the pipeline writes it.
fn record_text(record: &[LoopRecord], deconvolver: &str) -> String {
    let mut out = String::from(
        "# loop, deconvolver, niter, cycleniter, threshold (Jy/beam), noise (Jy/beam), model flux (Jy*chan), frac_delta_flux\n",
    );
    for r in record {
        let change = r.frac_delta_flux.map_or("nan".to_string(), |c| format!("{c:.6}"));
        out += &format!(
            "{} {deconvolver} {} {} {:.6e} {:.6e} {:.6e} {change}\n",
            r.loop_number, r.niter, r.cycleniter, r.threshold_jy, r.noise_jy, r.model_flux_jy
        );
    }
    out
}
