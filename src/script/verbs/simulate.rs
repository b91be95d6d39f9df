//! Simulated execution blocks.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::ms::atomic::NewFolder;
use crate::ms::{HistoryEntry, SetLayout, write_set};
use crate::notice::Reporter;
use crate::options::Options;
use crate::script::verb::{Call, Effects, Example, Input, InputKind, Verb, check_options, defaults};
use crate::staging::simulate::{DiskOptions, SimulateOptions, Simulation, keplerian_disk, simulate};

/// The verbs of this group.
pub static VERBS: &[&Verb] = &[&SIMULATE, &KEPLERIAN_DISK];

static SIMULATE: Verb = Verb {
    name: "simulate",
    group: "Data",
    summary: "Makes a folder of simulated execution blocks with known offsets.",
    details: "Arrays on logarithmic spirals at the site of ALMA, tracks, a sky of rings and spots whose visibilities are exact, offsets and \
              flux scales for each block, noise, flags. What went in stands in `truth.json` beside the sets and in the value. The sky is \
              given as a list of components, each with `flux` and any of `dra`, `ddec`, `radius` (a ring), `width` (standard deviation of \
              the smearing), `inclination`, `position_angle`; those with a `velocity` and a `line_width` shine in the line of `rest_freq`.",
    inputs: &[Input::new("folder", InputKind::FileOut, "Folder to make.")],
    options: &[SimulateOptions::PARAMS],
    defaults: defaults::<SimulateOptions>,
    returns: "`long`, `short`: lists of the sets; `truth`: reference, and for each of `ebs` name, ms, d_as, rel_as, flux_scale, rms_jy",
    effects: Effects::Writes,
    examples: &[
        Example {
            title: "Two blocks of a point source, one with an offset of its own.",
            script: "let s = simulate(\"demo\", #{ long: 1, short: 1, antennas: 5, integrations: 4, sky: [#{ flux: \"1Jy\" }] }); s.short[0]",
            result: "demo/SB1.ms",
            tolerance: 0.0,
        },
        Example {
            title: "A source that does not rise is refused.",
            script: "simulate(\"demo\", #{ dec: \"75deg\" })",
            result: "error: the source stands -8 deg above the horizon of ALMA in LB1: at least 10 deg are needed",
            tolerance: 0.0,
        },
    ],
    check: check_options::<SimulateOptions>,
    run: |call, work| {
        let options = call.options::<SimulateOptions>()?;
        let simulation = simulate(&options)?;
        write_simulation(&call.path_out(0)?, &simulation, work.notice)?;
        value(call, &simulation)
    },
    ..Verb::EMPTY
};

static KEPLERIAN_DISK: Verb = Verb {
    name: "keplerian_disk",
    group: "Data",
    summary: "Lists the components of a disk in Keplerian rotation that shines in a line, for the option `sky` of `simulate`.",
    options: &[DiskOptions::PARAMS],
    defaults: defaults::<DiskOptions>,
    returns: "A list of components.",
    effects: Effects::Glue,
    examples: &[Example {
        title: "The red-shifted side lies to the north of a disk at position angle 0.",
        script: "let d = keplerian_disk(#{ pa: \"0deg\", vlsr: \"0km/s\" });\nd[0].velocity.contains(\"-\") == d[0].ddec.contains(\"-\")",
        result: "true",
        tolerance: 0.0,
    }],
    check: check_options::<DiskOptions>,
    run: |call, _| {
        let spots = keplerian_disk(&call.options::<DiskOptions>()?)?;
        serde_json::to_value(spots).map_err(|e| Error::internal(format!("components: {e}")))
    },
    ..Verb::EMPTY
};

fn write_simulation(out: &Path, simulation: &Simulation, notice: &dyn Reporter) -> Result<()> {
    let folder = NewFolder::new(out)?;
    let total = simulation.sets.len() as u64;
    for (i, set) in simulation.sets.iter().enumerate() {
        notice.progress("simulate", i as u64, total);
        let layout = SetLayout { expected_rows: set.rows_per_spw(), sample_weights: false };
        let history = HistoryEntry::new("simulate", format!("block {}", set.name), &simulation.truth.options);
        let path = folder.path().join(format!("{}.ms", set.name));
        write_set(&path, set.description.clone(), layout, set.rows(), &history, notice).map_err(|e| folder.tell(e))?;
    }
    let truth = serde_json::to_string_pretty(&simulation.truth).map_err(|e| Error::internal(format!("truth.json: {e}")))?;
    let path = folder.path().join("truth.json");
    std::fs::write(&path, truth).map_err(|e| Error::io("write truth.json", path, e))?;
    folder.publish(notice)?;
    Ok(())
}

fn value(call: &Call, simulation: &Simulation) -> Result<Value> {
    let folder = call.text(0)?.trim_end_matches('/');
    let ebs = &simulation.truth.ebs;
    let n_long = simulation.truth.options.long;
    let paths = |range: std::ops::Range<usize>| -> Vec<String> { ebs[range].iter().map(|e| format!("{folder}/{}", e.ms)).collect() };
    let truth = serde_json::to_value(&simulation.truth).map_err(|e| Error::internal(format!("truth: {e}")))?;
    Ok(json!({ "long": paths(0..n_long), "short": paths(n_long..ebs.len()), "truth": truth }))
}
