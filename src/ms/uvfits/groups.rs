//! The random groups: parameters and visibilities of one baseline and integration each.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use ndarray::{Array2, Array3};
use num_complex::Complex32;

use super::UvFitsError;
use super::fits::{Header, Table};
use super::flags::{Asked, FlagRule, rules};
use super::tables::{Antennas, FreqAxis, Setups, Sources, correlations, frequency_frame, setups};
use crate::data::{Corr, Observation, RowBlock, SetDescription, VisWeight};
use crate::units::C_M_S;

type Read<T> = Result<T, UvFitsError>;

/// An opened file: its tables, and where its numbers are.
pub struct UvFits {
    file: File,
    layout: Layout,
    antennas: Antennas,
    setups: Setups,
    sources: Sources,
    rules: Vec<FlagRule>,
    description: SetDescription,
    index: Index,
    reference_day_s: f64,
    warnings: Vec<String>,
}

/// Where the numbers of a group are.
struct Layout {
    data_at: u64,
    n_groups: u64,
    word: Word,
    scale: [f64; 2],
    n_params: usize,
    n_values: usize,
    /// Numbers of a visibility: real, imaginary, and weight if there are three.
    n_complex: usize,
    corrs: Vec<(Corr, u64)>,
    /// Steps along the axes of correlation, channel and IF.
    steps: [usize; 3],
    freq: FreqAxis,
    params: Vec<Param>,
}

#[derive(Debug, Clone, Copy)]
enum Word {
    I16,
    I32,
    F32,
    F64,
}

#[derive(Debug, Clone)]
struct Param {
    name: String,
    scale: f64,
    zero: f64,
}

/// What one pass over the parameters finds out.
#[derive(Debug, Default)]
struct Index {
    scan_starts: Vec<u64>,
    time_range_s: [f64; 2],
    interval_s: f64,
}

/// The parameters of one group.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Group {
    uvw_m: [f64; 3],
    antennas: [u32; 2],
    subarray: u32,
    time_s: f64,
    interval_s: Option<f64>,
    source: i64,
    setup: i64,
}

impl UvFits {
    /// Opens a file and reads all but its visibilities.
    pub fn open(path: &Path, flag_table: bool) -> Read<UvFits> {
        let file = File::open(path).map_err(|e| UvFitsError::Read(e.to_string()))?;
        let length = file.metadata().map_err(|e| UvFitsError::Read(e.to_string()))?.len();
        let not_fits = || UvFitsError::NotUvFits("it does not begin with SIMPLE".to_string());
        let mut start = [0u8; 9];
        file.read_exact_at(&mut start, 0).ok().filter(|()| &start == b"SIMPLE  =").ok_or_else(not_fits)?;
        let primary = Header::read(&file, 0, length)?.ok_or_else(not_fits)?;
        let layout = Layout::new(&primary, length)?;
        let tables = read_tables(&file, primary.next_at()?, length)?;
        let telescope = primary.text("TELESCOP").unwrap_or("UNKNOWN").to_string();
        let antennas = Antennas::read(&tables, &telescope)?;
        let setups = setups(&tables, layout.freq, frequency_frame(&primary));
        let [ra, dec] = ["RA", "DEC"].map(|a| axis(&primary, a).and_then(|i| primary.number(&format!("CRVAL{i}"))));
        let [ra, dec] = [ra.or(primary.number("OBSRA")), dec.or(primary.number("OBSDEC"))].map(|v| v.unwrap_or(0.0));
        let sources = Sources::read(&tables, &primary, ra, dec);
        let clock = Clock::new(&tables);
        let mut uv = UvFits {
            rules: if flag_table { rules(&tables) } else { Vec::new() },
            reference_day_s: clock.reference_day_s,
            warnings: warnings(&tables, &layout),
            description: SetDescription::default(),
            index: Index::default(),
            file,
            layout,
            antennas,
            setups,
            sources,
        };
        uv.index = uv.scan(clock.ahead_of_utc_s)?;
        uv.description = uv.describe(&primary, telescope);
        Ok(uv)
    }

    /// What the subtables say.
    pub fn description(&self) -> &SetDescription {
        &self.description
    }
    /// Number of groups.
    pub fn n_groups(&self) -> u64 {
        self.layout.n_groups
    }
    /// What the reader of a report should know.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn describe(&self, primary: &Header, telescope: String) -> SetDescription {
        let n_windows = self.setups.windows.len();
        SetDescription {
            antennas: self.antennas.list.clone(),
            spws: self.setups.windows.clone(),
            polarizations: vec![self.layout.corrs.iter().map(|c| c.0).collect()],
            data_descriptions: (0..n_windows).map(|i| (i, 0)).collect(),
            fields: self.sources.fields.clone(),
            observations: vec![Observation {
                telescope,
                observer: primary.text("OBSERVER").unwrap_or("").to_string(),
                project: primary.text("PROJECT").unwrap_or("").to_string(),
                time_range_s: self.index.time_range_s,
            }],
            rest_freq_hz: self.sources.rest_freq_hz,
            variable_direction_frames: false,
        }
    }

    /// Goes once over the parameters: times, and where scans begin.
    fn scan(&mut self, ahead_of_utc_s: f64) -> Read<Index> {
        for p in &mut self.layout.params {
            // UTC from here on: days before the scale's own, which differ by whole seconds only.
            if p.name == "DATE" {
                p.zero -= ahead_of_utc_s / 86_400.0;
                break;
            }
        }
        let mut index = Index { time_range_s: [f64::INFINITY, f64::NEG_INFINITY], ..Index::default() };
        let mut last: Option<Group> = None;
        let mut steps: Vec<f64> = Vec::new();
        for first in (0..self.n_groups()).step_by(4096) {
            let n = 4096.min(self.n_groups() - first);
            for (i, (group, _)) in self.read(first, n)?.into_iter().enumerate() {
                let [low, high] = index.time_range_s;
                index.time_range_s = [low.min(group.time_s), high.max(group.time_s)];
                let step = last.map_or(0.0, |l| (group.time_s - l.time_s).abs());
                let long = step > 60.0f64.max(5.0 * group.interval_s.unwrap_or(12.0));
                if last.is_none_or(|l| l.source != group.source) || long {
                    index.scan_starts.push(first + i as u64);
                } else if step > 0.0 && steps.len() < 10_000 {
                    steps.push(step);
                }
                last = Some(group);
            }
        }
        // Without INTTIM an integration lasts as long as from one time to the next, mostly.
        steps.sort_by(f64::total_cmp);
        index.interval_s = steps.get(steps.len() / 2).copied().unwrap_or(1.0);
        Ok(index)
    }

    /// The rows of groups, in blocks of one spectral window each.
    pub fn rows(&self, first: u64, n: u64) -> Read<Vec<RowBlock>> {
        let groups = self.read(first, n)?;
        let numbered: Vec<(u64, &(Group, Vec<f64>))> = (first..).zip(&groups).collect();
        let mut blocks = Vec::new();
        for same_setup in numbered.chunk_by(|a, b| a.1.0.setup == b.1.0.setup) {
            let (number, (group, _)) = same_setup[0];
            let setup = self.setups.numbers.iter().position(|s| *s == group.setup);
            let setup = setup.ok_or(UvFitsError::Id { group: number, what: "frequency setup", id: group.setup })?;
            for i_if in 0..self.layout.freq.n_if as usize {
                blocks.push(self.block(same_setup, setup * self.layout.freq.n_if as usize + i_if, i_if)?);
            }
        }
        Ok(blocks)
    }

    fn block(&self, groups: &[(u64, &(Group, Vec<f64>))], data_desc: usize, i_if: usize) -> Read<RowBlock> {
        let (n, n_chan, n_corr) = (groups.len(), self.layout.freq.n_chan as usize, self.layout.corrs.len());
        let mut block = RowBlock {
            data_desc,
            time_s: groups.iter().map(|(_, (g, _))| g.time_s).collect(),
            interval_s: groups.iter().map(|(_, (g, _))| g.interval_s.unwrap_or(self.index.interval_s)).collect(),
            antenna1: Vec::with_capacity(n),
            antenna2: Vec::with_capacity(n),
            field: Vec::with_capacity(n),
            scan: groups.iter().map(|(i, _)| self.index.scan_starts.partition_point(|s| s <= i) as i32).collect(),
            observation: vec![0; n],
            uvw_m: Array2::from_shape_fn((n, 3), |(row, j)| groups[row].1.0.uvw_m[j]),
            vis_rfc: Array3::zeros((n, n_chan, n_corr)),
            flag_rfc: Array3::from_elem((n, n_chan, n_corr), false),
            weight: VisWeight::Row(Array2::zeros((0, 0))),
        };
        let mut weight = Array3::zeros((n, n_chan, n_corr));
        for (row, (number, (group, values))) in groups.iter().enumerate() {
            let antenna = |a: u32| {
                let missing = UvFitsError::Antenna { group: *number, antenna: a, subarray: group.subarray };
                self.antennas.id(group.subarray, a).ok_or(missing)
            };
            block.antenna1.push(antenna(group.antennas[0])?);
            block.antenna2.push(antenna(group.antennas[1])?);
            let field = self.sources.numbers.iter().position(|s| *s == group.source);
            block.field.push(field.ok_or(UvFitsError::Id { group: *number, what: "source", id: group.source })? as i32);
            let rules = self.rules_for(group, i_if);
            for chan in 0..n_chan {
                for (corr, (_, place)) in self.layout.corrs.iter().enumerate() {
                    let [c, f, i] = self.layout.steps;
                    let at = *place as usize * c + chan * f + i_if * i;
                    let w = if self.layout.n_complex > 2 { values[at + 2] } else { 1.0 };
                    let v = Complex32::new(values[at] as f32, values[at + 1] as f32);
                    let flagged = rules.iter().any(|r| r.flags(chan as u64 + 1, *place as usize));
                    block.vis_rfc[[row, chan, corr]] = v;
                    block.flag_rfc[[row, chan, corr]] = flagged || !(w > 0.0 && w.is_finite()) || !(v.re.is_finite() && v.im.is_finite());
                    // AIPS marks a flagged sample by a negative weight and keeps its size.
                    weight[[row, chan, corr]] = if w.is_finite() { w.abs() as f32 } else { 0.0 };
                }
            }
        }
        block.weight = VisWeight::Sample(weight);
        Ok(block)
    }

    fn rules_for(&self, group: &Group, i_if: usize) -> Vec<&FlagRule> {
        let asked = Asked {
            source: group.source,
            subarray: group.subarray,
            setup: group.setup,
            antennas: group.antennas,
            time_s: group.time_s - self.reference_day_s,
            i_if: i_if as u64 + 1,
        };
        self.rules.iter().filter(|r| r.concerns(&asked)).collect()
    }

    /// Reads groups: parameters and values.
    fn read(&self, first: u64, n: u64) -> Read<Vec<(Group, Vec<f64>)>> {
        let l = &self.layout;
        let group_bytes = ((l.n_params + l.n_values) * l.word.bytes()) as u64;
        let mut bytes = vec![0; (n * group_bytes) as usize];
        self.file.read_exact_at(&mut bytes, l.data_at + first * group_bytes).map_err(|e| UvFitsError::Read(e.to_string()))?;
        let group = |bytes: &[u8]| {
            let (params, values) = bytes.split_at(l.n_params * l.word.bytes());
            let values = l.word.numbers(values).map(|v| v * l.scale[0] + l.scale[1]).collect();
            (l.group(&l.word.numbers(params).collect::<Vec<_>>()), values)
        };
        Ok(bytes.chunks_exact(group_bytes as usize).map(group).collect())
    }
}

impl Word {
    fn bytes(self) -> usize {
        match self {
            Word::I16 => 2,
            Word::I32 | Word::F32 => 4,
            Word::F64 => 8,
        }
    }
    fn numbers(self, bytes: &[u8]) -> impl Iterator<Item = f64> + '_ {
        bytes.chunks_exact(self.bytes()).map(move |w| match (self, w) {
            (Word::I16, [a, b]) => f64::from(i16::from_be_bytes([*a, *b])),
            (Word::I32, [a, b, c, d]) => f64::from(i32::from_be_bytes([*a, *b, *c, *d])),
            (Word::F32, [a, b, c, d]) => f64::from(f32::from_be_bytes([*a, *b, *c, *d])),
            (_, w) => w.try_into().map_or(0.0, f64::from_be_bytes),
        })
    }
}

impl Layout {
    fn new(h: &Header, length: u64) -> Read<Layout> {
        if !h.is_true("GROUPS") || h.count("NAXIS1").unwrap_or(1) != 0 {
            return Err(UvFitsError::NotUvFits("its first part holds no random groups (GROUPS = T, NAXIS1 = 0)".to_string()));
        }
        let word = match h.number("BITPIX").map(|b| b as i64) {
            Some(16) => Word::I16,
            Some(32) => Word::I32,
            Some(-32) => Word::F32,
            Some(-64) => Word::F64,
            other => return Err(UvFitsError::Header(format!("BITPIX {other:?} is not supported"))),
        };
        let axes: Vec<u64> = (2..=h.count("NAXIS")?).map(|i| h.count(&format!("NAXIS{i}"))).collect::<Read<_>>()?;
        let step = |name: &str| axis(h, name).map(|i| (axes[..i - 2].iter().product::<u64>() as usize, axes[i - 2]));
        let (complex_step, n_complex) = step("COMPLEX").ok_or_else(|| UvFitsError::Header("there is no axis COMPLEX".to_string()))?;
        if complex_step != 1 || !(2..=3).contains(&n_complex) {
            return Err(UvFitsError::Header(format!("axis COMPLEX has {n_complex} numbers at step {complex_step}, 3 at step 1 expected")));
        }
        let (corr_step, n_corr) = step("STOKES").ok_or_else(|| UvFitsError::Header("there is no axis STOKES".to_string()))?;
        let (freq_step, n_chan) = step("FREQ").ok_or_else(|| UvFitsError::Header("there is no axis FREQ".to_string()))?;
        let (if_step, n_if) = step("IF").unwrap_or((0, 1));
        let of =
            |axis_name: &str, key: &str, default: f64| axis(h, axis_name).and_then(|i| h.number(&format!("{key}{i}"))).unwrap_or(default);
        let corrs = correlations(of("STOKES", "CRVAL", 1.0), of("STOKES", "CDELT", 1.0), of("STOKES", "CRPIX", 1.0), n_corr)?;
        let freq = FreqAxis {
            reference_hz: of("FREQ", "CRVAL", 0.0),
            step_hz: of("FREQ", "CDELT", 1.0),
            pixel: of("FREQ", "CRPIX", 1.0),
            n_chan,
            n_if,
        };
        let used = n_complex * n_corr * n_chan * n_if;
        let n_values: u64 = axes.iter().product();
        if used != n_values {
            return Err(UvFitsError::Header(format!(
                "{n_values} numbers a group where {used} are understood: an axis has more than one pixel"
            )));
        }
        let (n_params, n_groups) = (h.count("PCOUNT")?, h.count("GCOUNT")?);
        let end = h.data_at + h.data_bytes()?;
        if end > length {
            return Err(UvFitsError::Truncated { expected: end, found: length });
        }
        let param = |i: u64| Param {
            name: short(h.text(&format!("PTYPE{i}")).unwrap_or("")),
            scale: h.number(&format!("PSCAL{i}")).unwrap_or(1.0),
            zero: h.number(&format!("PZERO{i}")).unwrap_or(0.0),
        };
        let params: Vec<Param> = (1..=n_params).map(param).collect();
        for needed in ["UU", "VV", "WW", "DATE"] {
            if !params.iter().any(|p| p.name == needed) {
                return Err(UvFitsError::Header(format!("groups have no parameter {needed}")));
            }
        }
        Ok(Layout {
            data_at: h.data_at,
            n_groups,
            word,
            scale: [h.number("BSCALE").unwrap_or(1.0), h.number("BZERO").unwrap_or(0.0)],
            n_params: n_params as usize,
            n_values: n_values as usize,
            n_complex: n_complex as usize,
            corrs,
            steps: [corr_step, freq_step, if_step],
            freq,
            params,
        })
    }

    fn group(&self, params: &[f64]) -> Group {
        // Parameters of one name add up: dates come as a day and a part of it, each in single precision.
        let named = |name: &str| {
            let values = self.params.iter().zip(params).filter(|(p, _)| p.name == name).map(|(p, v)| v * p.scale + p.zero);
            values.reduce(|a, b| a + b)
        };
        let baseline = named("BASELINE").unwrap_or(0.0);
        let whole = baseline.floor();
        // 256 a1 + a2 + (subarray - 1)/100, or 2048 a1 + a2 + 65536 where there are more antennas.
        let packed =
            if whole >= 65_536.0 { [(whole - 65_536.0) / 2048.0, (whole - 65_536.0) % 2048.0] } else { [whole / 256.0, whole % 256.0] };
        let one = |name: &str, packed: f64| named(name).unwrap_or(packed) as u32;
        let subarray = named("SUBARRAY").map_or(((baseline - whole) * 100.0).round() as u32 + 1, |s| s as u32);
        const JD_OF_MJD: f64 = 2_400_000.5;
        let date = self.params.iter().zip(params).filter(|(p, _)| p.name == "DATE").map(|(p, v)| (v * p.scale, p.zero));
        // Whole days first, so that the sum keeps its last digits.
        let (parts, zeros): (Vec<f64>, Vec<f64>) = date.unzip();
        let days = parts.iter().chain(&zeros).map(|d| d.floor()).sum::<f64>() - JD_OF_MJD;
        let rest = parts.iter().chain(&zeros).map(|d| d - d.floor()).sum::<f64>();
        Group {
            uvw_m: ["UU", "VV", "WW"].map(|n| named(n).unwrap_or(0.0) * C_M_S),
            antennas: [one("ANTENNA1", packed[0].floor()), one("ANTENNA2", packed[1])],
            subarray: subarray.max(1),
            time_s: (days + rest) * 86_400.0,
            interval_s: named("INTTIM").filter(|t| *t > 0.0),
            source: named("SOURCE").map_or(1, |s| s as i64),
            setup: named("FREQSEL").map_or(1, |s| (s as i64).max(1)),
        }
    }
}

/// Parameter names without what tells of projections: `UU---SIN` is `UU`, `_DATE` is `DATE`.
fn short(name: &str) -> String {
    name.trim_start_matches('_').split('-').next().unwrap_or("").trim().to_string()
}

/// Number of the axis of this type.
fn axis(h: &Header, name: &str) -> Option<usize> {
    (2..=h.count("NAXIS").ok()? as usize).find(|i| h.text(&format!("CTYPE{i}")).is_some_and(|t| t.split('-').next() == Some(name)))
}

fn read_tables(file: &File, mut at: u64, length: u64) -> Read<Vec<Table>> {
    let mut tables = Vec::new();
    while let Some(header) = Header::read(file, at, length)? {
        let next = header.next_at()?;
        let wanted = header.text("EXTNAME").is_some_and(|n| ["AIPS AN", "AIPS FQ", "AIPS SU", "AIPS FG"].contains(&n));
        if header.text("XTENSION") == Some("BINTABLE") && wanted {
            tables.push(Table::read(file, header, length)?);
        }
        at = next;
    }
    Ok(tables)
}

/// The scale of times, from the antenna table.
struct Clock {
    /// Seconds by which the file's times are ahead of UTC.
    ahead_of_utc_s: f64,
    /// Begin of the day that times of tables count from, MJD seconds.
    reference_day_s: f64,
}

impl Clock {
    fn new(tables: &[Table]) -> Clock {
        let header = tables.iter().find(|t| t.name() == "AIPS AN").map(|t| &t.header);
        let text = |keys: &[&str]| keys.iter().find_map(|k| header.and_then(|h| h.text(k)));
        let date: Vec<i32> = text(&["RDATE"]).unwrap_or("").split(['-', 'T']).take(3).filter_map(|p| p.parse().ok()).collect();
        let day = match date[..] {
            [y, m, d] => sofars::cal::cal2jd(y, m, d).ok().map(|(_, mjd)| (mjd, sofars::ts::dat(y, m, d, 0.0).unwrap_or(0.0))),
            _ => None,
        };
        let atomic = matches!(text(&["TIMSYS", "TIMESYS"]).map(str::trim), Some("TAI" | "IAT"));
        let given = header.and_then(|h| h.number("IATUTC")).filter(|s| *s > 0.0).map(f64::round);
        let ahead = given.or(day.map(|d| d.1)).unwrap_or(0.0);
        Clock { ahead_of_utc_s: if atomic { ahead } else { 0.0 }, reference_day_s: day.map_or(0.0, |d| d.0 * 86_400.0) }
    }
}

fn warnings(tables: &[Table], layout: &Layout) -> Vec<String> {
    let mut out = Vec::new();
    if layout.n_complex == 2 {
        out.push("visibilities come without weights: each is given 1 Jy^-2".to_string());
    }
    let shifted = |t: &&Table| t.name() == "AIPS SU" && (0..t.n_rows()).any(|r| t.numbers("FREQOFF", r).iter().any(|f| *f != 0.0));
    if tables.iter().any(|t| shifted(&t)) {
        out.push("sources have frequency offsets (FREQOFF of AIPS SU), which are not applied".to_string());
    }
    out
}
