//! Reading UVFITS.

use serde_json::json;

use crate::ms::uvfits::{ImportUvfitsOptions, import_uvfits};
use crate::options::Options;
use crate::script::verb::{Effects, Example, Input, InputKind, Verb, check_options, defaults};

/// The verbs of this group.
pub static VERBS: &[&Verb] = &[&IMPORT_UVFITS];

static IMPORT_UVFITS: Verb = Verb {
    name: "import_uvfits",
    group: "Data",
    summary: "Turns a UVFITS file into a MeasurementSet.",
    details: "Random groups with the tables of AIPS: one or many sources, several IFs (each becomes a spectral window), frequency setups and \
              subarrays. UVW and visibilities keep their signs. Weights are kept for each sample; samples whose weight is not positive \
              and finite are flagged. Times in TAI become UTC.",
    inputs: &[Input::new("file", InputKind::FileIn, "UVFITS file."), Input::new("out", InputKind::FileOut, "Set to make.")],
    options: &[ImportUvfitsOptions::PARAMS],
    defaults: defaults::<ImportUvfitsOptions>,
    returns: "The path of the set, as given.",
    effects: Effects::Writes,
    examples: &[Example {
        title: "A file that is not there is said to be so.",
        script: "import_uvfits(\"absent.uvfits\", \"a.ms\")",
        result: "error: `import_uvfits` reads a file that is not there",
        tolerance: 0.0,
    }],
    see: "AIPS Memo 117",
    check: check_options::<ImportUvfitsOptions>,
    run: |call, work| {
        import_uvfits(&call.path_in(0)?, &call.path_out(1)?, &call.options::<ImportUvfitsOptions>()?, work.notice)?;
        Ok(json!(call.text(1)?))
    },
    ..Verb::EMPTY
};
