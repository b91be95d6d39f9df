//! The flag table AIPS FG: ranges of time, antennas, IFs, channels and correlations that must not be used.

use super::fits::Table;

/// One row of the table; an empty list or a zero means all.
#[derive(Debug, Clone)]
pub struct FlagRule {
    source: i64,
    subarray: u32,
    setup: i64,
    antennas: [u32; 2],
    times_s: [f64; 2],
    ifs: [u64; 2],
    chans: [u64; 2],
    /// By place along the Stokes axis of the file.
    corrs: Vec<bool>,
}

/// What a rule is asked about: one baseline at one time, in one IF.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Source number.
    pub source: i64,
    /// Subarray.
    pub subarray: u32,
    /// Frequency setup.
    pub setup: i64,
    /// Station numbers.
    pub antennas: [u32; 2],
    /// Seconds since the reference day.
    pub time_s: f64,
    /// IF, from 1.
    pub i_if: u64,
}

/// Reads the tables AIPS FG.
pub fn rules(tables: &[Table]) -> Vec<FlagRule> {
    let mut out = Vec::new();
    for table in tables.iter().filter(|t| t.name() == "AIPS FG") {
        for row in 0..table.n_rows() {
            let pair = |name: &str| {
                let v = table.numbers(name, row);
                [v.first().copied().unwrap_or(0.0), v.get(1).copied().unwrap_or(0.0)]
            };
            let counts = |name: &str| pair(name).map(|v| v.max(0.0) as u64);
            let whole = |name: &str| table.number(name, row).unwrap_or(0.0) as i64;
            out.push(FlagRule {
                source: whole("SOURCE"),
                subarray: whole("SUBARRAY").max(0) as u32,
                setup: whole("FREQ ID"),
                antennas: counts("ANTS").map(|a| a as u32),
                times_s: pair("TIME RANGE").map(|t| t * 86_400.0),
                ifs: counts("IFS"),
                chans: counts("CHANS"),
                corrs: table.bits("PFLAGS", row),
            });
        }
    }
    out
}

impl FlagRule {
    /// True if the rule speaks of this baseline, time and IF.
    pub fn concerns(&self, asked: &Asked) -> bool {
        let all_or = |own: i64, asked: i64| own <= 0 || own == asked;
        let [a, b] = self.antennas;
        let has = |id: u32| id == 0 || asked.antennas.contains(&id);
        // The same antenna twice is its autocorrelation.
        let antennas = if a == b && a > 0 { asked.antennas == [a, a] } else { has(a) && has(b) };
        all_or(self.source, asked.source)
            && all_or(i64::from(self.subarray), i64::from(asked.subarray))
            && all_or(self.setup, asked.setup)
            && antennas
            && (self.times_s[0]..=self.times_s[1]).contains(&asked.time_s)
            && within(self.ifs, asked.i_if)
    }

    /// True if the rule flags a channel (from 1) of a correlation (place along the axis of the file).
    pub fn flags(&self, chan: u64, corr: usize) -> bool {
        within(self.chans, chan) && (self.corrs.is_empty() || self.corrs.get(corr).copied().unwrap_or(false))
    }
}

/// A range counted from 1, in which 0 stands for the first or the last.
fn within([first, last]: [u64; 2], i: u64) -> bool {
    i >= first && (last == 0 || i <= last)
}
