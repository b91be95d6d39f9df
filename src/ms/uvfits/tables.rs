//! What the tables of AIPS say: antennas (AN), frequencies (FQ), sources (SU).

use super::UvFitsError;
use super::fits::{Header, Table};
use crate::data::{Antenna, Corr, Field, FreqFrame, SpectralWindow};
use crate::sky::{Direction, Frame};

type Read<T> = Result<T, UvFitsError>;

/// Antennas of all subarrays, and which station number of which subarray each is.
#[derive(Debug, Default)]
pub struct Antennas {
    /// The antennas.
    pub list: Vec<Antenna>,
    /// Subarray and station number of each.
    pub ids: Vec<(u32, u32)>,
}

impl Antennas {
    /// Reads the tables AIPS AN.
    pub fn read(tables: &[Table], telescope: &str) -> Read<Antennas> {
        let mut out = Antennas::default();
        for table in tables.iter().filter(|t| t.name() == "AIPS AN") {
            let subarray = table.header.number("EXTVER").map_or(1, |v| v as u32);
            let center = ["ARRAYX", "ARRAYY", "ARRAYZ"].map(|k| table.header.number(k).unwrap_or(0.0));
            for row in 0..table.n_rows() {
                let xyz = table.numbers("STABXYZ", row);
                let [x, y, z] = xyz[..] else { return Err(UvFitsError::Header(format!("antenna {row} has no position"))) };
                let name = table.text("ANNAME", row);
                let number = table.number("NOSTA", row).map_or(row as u32 + 1, |n| n as u32);
                let diameter_m = table.number("DIAMETER", row).filter(|d| *d > 0.0).unwrap_or(usual_diameter(telescope));
                let name = if name.is_empty() { format!("ANT{number}") } else { name };
                out.ids.push((subarray, number));
                out.list.push(Antenna { station: name.clone(), name, position_m: geocentric(center, [x, y, z]), diameter_m });
            }
        }
        if out.list.is_empty() {
            return Err(UvFitsError::Header("there is no antenna table (AIPS AN)".to_string()));
        }
        Ok(out)
    }

    /// Id of a station of a subarray.
    pub fn id(&self, subarray: u32, number: u32) -> Option<i32> {
        self.ids.iter().position(|id| *id == (subarray, number)).map(|i| i as i32)
    }
}

/// Positions about the centre of an array lie in axes turned to its meridian (AIPS Memo 117); those without a centre are ITRF.
fn geocentric(center: [f64; 3], [x, y, z]: [f64; 3]) -> [f64; 3] {
    let [cx, cy, cz] = center;
    if cx.hypot(cy) < 1e3 {
        return [x, y, z];
    }
    let (sin, cos) = cy.atan2(cx).sin_cos();
    [cx + cos * x - sin * y, cy + sin * x + cos * y, cz + z]
}

/// For tables that do not say; CASA takes 25 m everywhere.
fn usual_diameter(telescope: &str) -> f64 {
    match telescope {
        "ALMA" | "NOEMA" | "PDBI" | "IRAM PDB" => 12.0,
        "ATCA" => 22.0,
        "SMA" => 6.0,
        _ => 25.0,
    }
}

/// Correlations in the order of CASA, and the place of each along the axis of the file.
pub fn correlations(reference: f64, step: f64, pixel: f64, n: u64) -> Read<Vec<(Corr, u64)>> {
    let mut out = Vec::new();
    for i in 0..n {
        let code = (reference + (i as f64 + 1.0 - pixel) * step).round() as i32;
        use Corr::*;
        let corr = match code {
            1..=4 => Corr::from_code(code),
            -1 => Some(RR),
            -2 => Some(LL),
            -3 => Some(RL),
            -4 => Some(LR),
            -5 => Some(XX),
            -6 => Some(YY),
            -7 => Some(XY),
            -8 => Some(YX),
            _ => None,
        };
        out.push((corr.ok_or_else(|| UvFitsError::Header(format!("Stokes code {code} is unknown")))?, i));
    }
    out.sort();
    Ok(out)
}

/// The spectral windows: one for each IF of each frequency setup.
pub struct Setups {
    /// Numbers of the setups (FREQSEL).
    pub numbers: Vec<i64>,
    /// Windows, IF after IF, setup after setup.
    pub windows: Vec<SpectralWindow>,
}

/// Axis of frequencies in the primary header.
#[derive(Debug, Clone, Copy)]
pub struct FreqAxis {
    /// Frequency at the reference pixel, Hz.
    pub reference_hz: f64,
    /// Width of a channel, Hz.
    pub step_hz: f64,
    /// Reference pixel, from 1.
    pub pixel: f64,
    /// Channels.
    pub n_chan: u64,
    /// IFs.
    pub n_if: u64,
}

/// Reads the table AIPS FQ; without one there is a single setup.
pub fn setups(tables: &[Table], axis: FreqAxis, frame: FreqFrame) -> Setups {
    let window = |name: String, offset_hz: f64, step_hz: f64| {
        let freq_hz = (0..axis.n_chan).map(|i| axis.reference_hz + offset_hz + (i as f64 + 1.0 - axis.pixel) * step_hz).collect();
        SpectralWindow { name, freq_hz, width_hz: vec![step_hz; axis.n_chan as usize], frame }
    };
    let mut out = Setups { numbers: Vec::new(), windows: Vec::new() };
    for table in tables.iter().filter(|t| t.name() == "AIPS FQ") {
        for row in 0..table.n_rows() {
            let (offsets, widths, sides) = (table.numbers("IF FREQ", row), table.numbers("CH WIDTH", row), table.numbers("SIDEBAND", row));
            let number = table.number("FRQSEL", row).or(table.number("FREQSEL", row)).map_or(row as i64 + 1, |n| n as i64);
            out.numbers.push(number);
            for i in 0..axis.n_if as usize {
                // Widths are single precision there: the header's is better where they agree.
                let width = widths.get(i).copied().filter(|w| *w != 0.0).unwrap_or(axis.step_hz);
                let width = if (width.abs() / axis.step_hz.abs() - 1.0).abs() < 1e-6 { width.signum() * axis.step_hz.abs() } else { width };
                let falling = sides.get(i).is_some_and(|s| *s < 0.0);
                let step = if falling { -width.abs() } else { width };
                out.windows.push(window(format!("IF{}", i + 1), offsets.get(i).copied().unwrap_or(0.0), step));
            }
        }
    }
    if out.numbers.is_empty() {
        out.numbers.push(1);
        out.windows.extend((0..axis.n_if).map(|i| window(format!("IF{}", i + 1), 0.0, axis.step_hz)));
    }
    out
}

/// Frame of the frequencies.
pub fn frequency_frame(header: &Header) -> FreqFrame {
    match header.text("SPECSYS").unwrap_or("") {
        "LSRK" => FreqFrame::Lsrk,
        "LSRD" => FreqFrame::Lsrd,
        "BARYCENT" | "HELIOCEN" => FreqFrame::Bary,
        "GEOCENTR" => FreqFrame::Geo,
        "TOPOCENT" => FreqFrame::Topo,
        // AIPS: 1 LSR, 2 heliocentric, 3 observatory; 256 more for radio velocities.
        _ => match header.number("VELREF").map_or(3, |v| v as i64 % 256) {
            1 => FreqFrame::Lsrk,
            2 => FreqFrame::Bary,
            _ => FreqFrame::Topo,
        },
    }
}

/// The sources: those of the table AIPS SU, or the one of the primary header.
pub struct Sources {
    /// Numbers that groups name.
    pub numbers: Vec<i64>,
    /// Fields.
    pub fields: Vec<Field>,
    /// Rest frequency, Hz.
    pub rest_freq_hz: Option<f64>,
}

impl Sources {
    /// Reads them; `ra_deg` and `dec_deg` are those of the primary axes.
    pub fn read(tables: &[Table], header: &Header, ra_deg: f64, dec_deg: f64) -> Sources {
        let plausible = |f: &f64| *f > 1e6; // some writers give MHz or 0
        let rest = ["RESTFREQ", "RESTFRQ"].iter().find_map(|k| header.number(k)).filter(plausible);
        let mut out = Sources { numbers: Vec::new(), fields: Vec::new(), rest_freq_hz: rest };
        for table in tables.iter().filter(|t| t.name() == "AIPS SU") {
            for row in 0..table.n_rows() {
                let number = ["ID. NO.", "ID_NO.", "SOURCE_ID"].iter().find_map(|c| table.number(c, row));
                let equinox = table.number("EPOCH", row).or(table.number("EQUINOX", row));
                let center = ["RAEPO", "DECEPO"].map(|c| table.number(c, row).unwrap_or(0.0).to_radians());
                out.numbers.push(number.map_or(row as i64 + 1, |n| n as i64));
                out.fields.push(Field {
                    name: table.text("SOURCE", row),
                    code: table.text("CALCODE", row),
                    phase_center: Direction::new(center[0], center[1], frame(header, equinox)),
                });
                out.rest_freq_hz = out.rest_freq_hz.or(table.number("RESTFREQ", row).filter(plausible));
            }
        }
        if out.fields.is_empty() {
            let equinox = header.number("EPOCH").or(header.number("EQUINOX"));
            let name = header.text("OBJECT").unwrap_or("target").to_string();
            let phase_center = Direction::new(ra_deg.to_radians(), dec_deg.to_radians(), frame(header, equinox));
            out.numbers.push(1);
            out.fields.push(Field { name, code: String::new(), phase_center });
        }
        out
    }
}

fn frame(header: &Header, equinox: Option<f64>) -> Frame {
    match (header.text("RADESYS").or(header.text("RADECSYS")), equinox) {
        (Some("ICRS"), _) => Frame::Icrs,
        (Some("FK4"), _) => Frame::B1950,
        (_, Some(year)) if (1949.0..1951.0).contains(&year) => Frame::B1950,
        _ => Frame::J2000,
    }
}
