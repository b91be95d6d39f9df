//! The forecast of an image.

use crate::imaging::{PlanOptions, plan_image};
use crate::ms::select::Selection;
use crate::options::Options;
use crate::script::value::record;
use crate::script::verb::{Effects, Example, Input, InputKind, Verb, check_options2, defaults2};
use crate::script::verbs::SetArg;
use crate::units::ARCSEC;

use super::image::beam_value;
use super::open::Pointings;

pub static PLAN_IMAGE: Verb = Verb {
    name: "plan_image",
    group: "Imaging",
    summary: "Forecasts cell, size, beam, noise, memory and time of an image, with reasons.",
    version: 2,
    inputs: &[Input::new("sets", InputKind::MsList, "The sets to image together.")],
    options: &[PlanOptions::PARAMS, Selection::PARAMS],
    defaults: defaults2::<PlanOptions, Selection>,
    returns: "ImagePlan: `cell`, `npix` (for `image`), `cell_arcsec`, `nx`, `ny`, `phase_center`, `beam_arcsec`, `largest_scale_arcsec`, \
              `max_uv_klambda`, `w_phase_rad`, `beam` (`bmaj_arcsec`, `bmin_arcsec`, `bpa_deg`), `noise_jy` and `noise_increase` (of a continuum image of all \
              channels, from a part of the visibilities), `memory_mb`, `dirty_s` (wall seconds for dirty image and PSF, to a factor of two or three), \
              `w_terms`, `reasons`",
    effects: Effects::Reads,
    examples: &[Example {
        title: "Baselines of 3 km at 1.4 mm need cells of 0.012 arcsec or less.",
        script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 8, integrations: 4 });\nlet p = plan_image(s.long);\np.cell_arcsec <= 0.04 && p.nx > 500",
        result: "true",
        tolerance: 0.0,
    }],
    see: "ALMA Technical Handbook, chapter 7",
    check: check_options2::<PlanOptions, Selection>,
    run: |call, work| {
        let sets = SetArg::list(call.context, call.list(0))?;
        let pointings = Pointings::open(&sets, &call.options::<Selection>()?)?;
        let plan = plan_image(&pointings.inputs(), &call.options::<PlanOptions>()?, work.notice)?;
        let arcsec = |rad: f64| rad / ARCSEC;
        let fields = serde_json::json!({
            "cell": format!("{:.9}arcsec", arcsec(plan.cell_rad)), "npix": [plan.nx, plan.ny], "cell_arcsec": arcsec(plan.cell_rad), "nx": plan.nx,
            "ny": plan.ny, "phase_center": plan.center.to_string(), "beam_arcsec": arcsec(plan.beam_rad),
            "largest_scale_arcsec": arcsec(plan.largest_scale_rad), "max_uv_klambda": plan.max_uv_lambda / 1e3, "w_phase_rad": plan.w_phase_rad,
            "beam": beam_value(plan.forecast.and_then(|f| f.beam)), "noise_jy": plan.forecast.map(|f| f.noise_jy),
            "noise_increase": plan.forecast.map(|f| f.noise_increase), "memory_mb": plan.cost.memory_bytes as f64 / 1e6,
            "dirty_s": plan.cost.dirty_s, "w_terms": plan.cost.w_terms, "reasons": plan.reasons,
        });
        record("ImagePlan", plan.reasons.join("\n"), fields)
    },
    ..Verb::EMPTY
};
