//! From header cards to coordinates and back.

use super::FitsError;
use super::header::Header;
use crate::data::{Beam, Card, CardValue};
use crate::error::Result;
use crate::notice::{Reporter, Warning};
use crate::sky::{Celestial, CelestialKeys, Frame, Projection, SpectralAxis, SpectralFrame, SpectralKind};

/// Which FITS axes (counted from 0) are what, and their coordinates.
#[derive(Debug, Clone)]
pub(super) struct Axes {
    pub lon: usize,
    pub lat: usize,
    pub spectral: Option<usize>,
    pub stokes: Option<usize>,
    pub sky: Celestial,
    pub spectral_axis: Option<SpectralAxis>,
    pub rest_hz: Option<f64>,
    pub spectral_frame: Option<SpectralFrame>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Role {
    Lon,
    Lat,
    Spectral,
    Stokes,
    Other,
}

fn role(ctype: &str) -> Role {
    let head = ctype.split('-').next().unwrap_or("");
    match head {
        "RA" | "GLON" | "ELON" | "SLON" => Role::Lon,
        "DEC" | "GLAT" | "ELAT" | "SLAT" => Role::Lat,
        "FREQ" | "VRAD" | "VOPT" | "VELO" | "FELO" | "WAVE" | "AWAV" | "VELOCITY" | "LAMBDA" | "WAVELENG" | "FREQUENC" => Role::Spectral,
        "STOKES" => Role::Stokes,
        _ => Role::Other,
    }
}

/// CTYPE and length of every axis, as messages show them.
fn describe(header: &Header, size: &[usize]) -> String {
    let names: Vec<String> =
        size.iter().enumerate().map(|(i, n)| format!("{} ({n})", header.text(&format!("CTYPE{}", i + 1)).unwrap_or("no CTYPE"))).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

impl Axes {
    pub(super) fn read(header: &Header, size: &[usize], rest_given: Option<f64>, notice: &dyn Reporter) -> Result<Axes> {
        let ctype: Vec<String> =
            (1..=size.len()).map(|i| header.text(&format!("CTYPE{i}")).unwrap_or("").trim().to_ascii_uppercase()).collect();
        let find = |r: Role| ctype.iter().position(|c| role(c) == r);
        let (Some(lon), Some(lat)) = (find(Role::Lon), find(Role::Lat)) else {
            return Err(
                FitsError::Axes { found: describe(header, size), expected: "longitude and latitude (RA, DEC or GLON, GLAT)" }.into()
            );
        };
        let spectral = find(Role::Spectral);
        let stokes = find(Role::Stokes);
        for (i, n) in size.iter().enumerate() {
            if *n != 1 && ![Some(lon), Some(lat), spectral, stokes].contains(&Some(i)) {
                let expected = "two celestial axes, one spectral axis, Stokes, and axes of length 1";
                return Err(FitsError::Axes { found: describe(header, size), expected }.into());
            }
        }
        let matrix = pixel_matrix(header, size.len());
        refuse_mixing(header, size, &matrix, lon, lat)?;
        let sky = celestial(header, &ctype, lon, lat, &matrix, notice)?;
        let rest_hz = rest_given.or_else(|| rest_frequency(header));
        let spectral_frame = frame_of(header, spectral.map_or("", |i| &ctype[i]));
        let spectral_axis = match spectral {
            Some(i) => Some(spectral_from(header, &ctype[i], (i, size[i]), matrix[i][i], rest_hz, notice)?.with_frame(spectral_frame)),
            None => None,
        };
        Ok(Axes { lon, lat, spectral, stokes, sky, spectral_axis, rest_hz, spectral_frame })
    }
}

fn indexed(header: &Header, key: &str, i: usize) -> Option<f64> {
    header.number(&format!("{key}{}", i + 1))
}

/// World units a pixel, from CD, or CDELT with PC, or CDELT with CROTA.
fn pixel_matrix(header: &Header, n: usize) -> Vec<Vec<f64>> {
    let has_cd = (1..=n).any(|i| (1..=n).any(|j| header.get(&format!("CD{i}_{j}")).is_some()));
    let mut m = vec![vec![0.0; n]; n];
    for (i, row) in m.iter_mut().enumerate() {
        let cdelt = indexed(header, "CDELT", i).unwrap_or(1.0);
        for (j, v) in row.iter_mut().enumerate() {
            let unit = if i == j { 1.0 } else { 0.0 };
            *v = if has_cd {
                header.number(&format!("CD{}_{}", i + 1, j + 1)).unwrap_or(0.0)
            } else {
                cdelt * header.number(&format!("PC{}_{}", i + 1, j + 1)).unwrap_or(unit)
            };
        }
        // A CD matrix may leave out degenerate axes.
        if has_cd && row.iter().all(|v| *v == 0.0) {
            row[i] = cdelt;
        }
    }
    m
}

fn refuse_mixing(header: &Header, size: &[usize], m: &[Vec<f64>], lon: usize, lat: usize) -> Result<()> {
    for (i, row) in m.iter().enumerate() {
        for (j, v) in row.iter().enumerate() {
            let both_sky = [lon, lat].contains(&i) && [lon, lat].contains(&j);
            if i != j && !both_sky && *v != 0.0 && size[j] > 1 {
                let expected = "axes that do not mix sky and spectrum (off-diagonal PC or CD terms of 0)";
                return Err(FitsError::Axes { found: describe(header, size), expected }.into());
            }
        }
    }
    Ok(())
}

fn celestial(header: &Header, ctype: &[String], lon: usize, lat: usize, m: &[Vec<f64>], notice: &dyn Reporter) -> Result<Celestial> {
    let code = ctype[lon].split('-').rfind(|s| !s.is_empty()).unwrap_or("").to_string();
    let (code, warn) = match ctype[lon].strip_suffix("-SIP") {
        Some(stem) => (stem.rsplit('-').next().unwrap_or("").to_string(), true),
        None => (code, false),
    };
    if warn {
        notice.warn(
            Warning::new("wcs-distortion", format!("{}: the SIP distortion terms of the header are not applied", ctype[lon]))
                .hint("positions are those of the undistorted projection; reproject with another program first where that matters"),
        );
    }
    let projection = match Projection::from_code(&code) {
        Some(Projection::Sin { .. }) => Projection::Sin {
            xi: header.number(&format!("PV{}_1", lat + 1)).unwrap_or(0.0),
            eta: header.number(&format!("PV{}_2", lat + 1)).unwrap_or(0.0),
        },
        Some(p) => p,
        None => {
            return Err(FitsError::Keyword {
                key: format!("CTYPE{}", lon + 1),
                problem: format!("is '{}', an unknown projection", ctype[lon]),
                expected: "SIN, NCP, TAN, ARC, ZEA, STG, SFL, GLS or CAR",
            }
            .into());
        }
    };
    let scale = |i: usize| angle_unit(header, i);
    let (su, sv) = (scale(lon)?, scale(lat)?);
    let mut cd = [[m[lon][lon] * su, m[lon][lat] * su], [m[lat][lon] * sv, m[lat][lat] * sv]];
    // Old headers: CROTA on the latitude axis turns both.
    let crota = indexed(header, "CROTA", lat).or_else(|| indexed(header, "CROTA", lon)).unwrap_or(0.0);
    let no_matrix = m[lon][lat] == 0.0 && m[lat][lon] == 0.0;
    if crota != 0.0 && no_matrix {
        let (s, c) = crota.to_radians().sin_cos();
        let (dx, dy) = (cd[0][0], cd[1][1]);
        cd = [[dx * c, -dy * s], [dx * s, dy * c]];
    }
    let value = |key: &str, i: usize, scale: f64| indexed(header, key, i).unwrap_or(0.0) * scale;
    let (frame, equinox) = celestial_frame(header, &ctype[lon]);
    Ok(Celestial::new(CelestialKeys {
        projection,
        crval: [value("CRVAL", lon, su), value("CRVAL", lat, sv)],
        crpix: [value("CRPIX", lon, 1.0), value("CRPIX", lat, 1.0)],
        cd,
        lonpole: header.number("LONPOLE").or_else(|| header.number(&format!("PV{}_3", lon + 1))),
        latpole: header.number("LATPOLE").or_else(|| header.number(&format!("PV{}_4", lon + 1))),
        frame,
        radesys: header.text("RADESYS").or_else(|| header.text("RADECSYS")).map(|s| s.trim().to_string()),
        equinox,
    })?)
}

/// Degrees in the unit of a celestial axis.
fn angle_unit(header: &Header, i: usize) -> Result<f64> {
    let key = format!("CUNIT{}", i + 1);
    Ok(match header.text(&key).unwrap_or("").trim().to_ascii_lowercase().as_str() {
        "" | "deg" | "degree" | "degrees" => 1.0,
        "arcmin" => 1.0 / 60.0,
        "arcsec" => 1.0 / 3600.0,
        "mas" => 1.0 / 3.6e6,
        "rad" => 180.0 / std::f64::consts::PI,
        other => {
            return Err(FitsError::Keyword { key, problem: format!("is '{other}'"), expected: "deg, arcmin, arcsec, mas or rad" }.into());
        }
    })
}

fn celestial_frame(header: &Header, ctype: &str) -> (Frame, Option<f64>) {
    let equinox = header.number("EQUINOX").or_else(|| header.number("EPOCH"));
    if ctype.starts_with("GLON") {
        return (Frame::Galactic, None);
    }
    let named = header.text("RADESYS").or_else(|| header.text("RADECSYS")).unwrap_or("").trim().to_ascii_uppercase();
    let frame = match (named.as_str(), equinox) {
        ("ICRS", _) => Frame::Icrs,
        ("FK5", _) => Frame::J2000,
        ("FK4" | "FK4-NO-E", _) => Frame::B1950,
        (_, Some(e)) if e < 1984.0 => Frame::B1950,
        (_, Some(_)) => Frame::J2000,
        (_, None) => Frame::Icrs,
    };
    (frame, equinox)
}

fn rest_frequency(header: &Header) -> Option<f64> {
    let positive = |v: &f64| v.is_finite() && *v > 0.0;
    header.number("RESTFRQ").filter(positive).or_else(|| header.number("RESTFREQ").filter(positive)).or_else(|| {
        let wave = header.number("RESTWAV").filter(positive)?;
        Some(crate::units::C_M_S / wave)
    })
}

/// Frame from SPECSYS, from the AIPS suffix of CTYPE, or from VELREF.
fn frame_of(header: &Header, ctype: &str) -> Option<SpectralFrame> {
    let suffix = ctype.split_once('-').map_or("", |(_, s)| s.trim_matches('-'));
    header.text("SPECSYS").and_then(SpectralFrame::from_name).or_else(|| SpectralFrame::from_name(suffix)).or_else(|| {
        // AIPS memo 27 names 1 to 3; casacore adds the rest.
        Some(match header.number("VELREF")? as i64 % 256 {
            1 => SpectralFrame::Lsrk,
            2 => SpectralFrame::Helio,
            3 => SpectralFrame::Topo,
            4 => SpectralFrame::Lsrd,
            5 => SpectralFrame::Geo,
            6 => SpectralFrame::Source,
            7 => SpectralFrame::Galactocentric,
            _ => return None,
        })
    })
}

fn spectral_from(
    header: &Header,
    ctype: &str,
    (i, n): (usize, usize),
    cdelt: f64,
    rest_hz: Option<f64>,
    notice: &dyn Reporter,
) -> Result<SpectralAxis> {
    let key = format!("CUNIT{}", i + 1);
    let scale = match header.text(&key).unwrap_or("").trim().to_ascii_lowercase().replace(' ', "").as_str() {
        "" | "hz" | "m/s" | "ms-1" | "m.s-1" | "m" => 1.0,
        "khz" | "km/s" | "kms-1" | "km.s-1" => 1e3,
        "mhz" => 1e6,
        "ghz" => 1e9,
        "cm" => 1e-2,
        "mm" => 1e-3,
        "um" | "micron" => 1e-6,
        "nm" => 1e-9,
        "angstrom" => 1e-10,
        other => {
            return Err(FitsError::Keyword {
                key,
                problem: format!("is '{other}'"),
                expected: "a unit of frequency, velocity or wavelength",
            }
            .into());
        }
    };
    let crval = indexed(header, "CRVAL", i).unwrap_or(0.0) * scale;
    let crpix = indexed(header, "CRPIX", i).unwrap_or(0.0);
    let cdelt = cdelt * scale;
    let (head, tail) = ctype.split_once('-').unwrap_or((ctype, ""));
    let velref = header.number("VELREF").map(|v| v as i64);
    let kind = match (head, velref) {
        // AIPS's VELO-LSR: VELREF says radio or optical; without it wcslib, and so astropy, takes optical.
        ("VELO", v) if !tail.is_empty() => {
            if v.is_some_and(|v| v >= 256) {
                SpectralKind::Radio
            } else {
                SpectralKind::Optical
            }
        }
        ("VELO" | "VELOCITY", _) => SpectralKind::Relativistic,
        ("FREQUENC", _) => SpectralKind::Frequency,
        ("LAMBDA" | "WAVELENG" | "AWAV", _) => SpectralKind::Wavelength,
        ("FELO", _) => SpectralKind::Optical,
        (code, _) => SpectralKind::from_code(code).unwrap_or(SpectralKind::Frequency),
    };
    if head == "VELO" && !tail.is_empty() && velref.is_none() {
        let message =
            format!("{ctype} without VELREF does not say whether velocities are radio or optical; taken as optical, as wcslib does");
        notice.warn(
            Warning::new("velocity-definition", message).hint("MIRIAD means radio velocity; it matters only where frequencies are needed"),
        );
    }
    let in_frequency = head == "FELO" || tail == "F2W" || tail == "F2V";
    let mut axis = if in_frequency && kind.is_velocity() {
        // Regular in frequency, labelled in velocity at the reference channel: Greisen et al. 2006, A&A 446, 747, section 3.
        let rest = rest_hz.ok_or(FitsError::Keyword {
            key: "RESTFRQ".into(),
            problem: format!("is missing for a {ctype} axis"),
            expected: "the rest frequency in Hz",
        })?;
        let f = kind.freq_from_value(crval, rest);
        let step = crval.abs().max(1.0) * 1e-6 + cdelt.abs() * 1e-3;
        let df_dv = (kind.freq_from_value(crval + step, rest) - kind.freq_from_value(crval - step, rest)) / (2.0 * step);
        let df_dv = if kind == SpectralKind::Optical { -f * f / (rest * crate::units::C_M_S) } else { df_dv };
        SpectralAxis::new(SpectralKind::Frequency, f, df_dv * cdelt, crpix, n)?.with_velocity(kind)
    } else {
        SpectralAxis::new(kind, crval, cdelt, crpix, n)?
    };
    if let Some(rest) = rest_hz {
        axis = axis.with_rest(rest)?;
    }
    if !kind.is_velocity() && velref.is_some_and(|v| v > 0 && v < 256) {
        axis = axis.with_velocity(SpectralKind::Optical);
    }
    Ok(axis)
}

/// The beam of a header: BMAJ cards, AIPS's HISTORY, or CASA's HISTORY.
pub(super) fn beam_of(header: &Header) -> Result<Option<Beam>> {
    if let Some(bmaj) = header.number("BMAJ")
        && bmaj > 0.0
    {
        let bmin = header.number("BMIN").filter(|b| *b > 0.0).unwrap_or(bmaj);
        let (a, b) = (bmaj.to_radians(), bmin.to_radians());
        let pa = header.number("BPA").unwrap_or(0.0).to_radians();
        // Axes in the wrong order are a known slip; the ellipse is the same, a quarter turn on.
        let beam = if b > a { Beam::new(b, a, pa + std::f64::consts::FRAC_PI_2) } else { Beam::new(a, b, pa) };
        return Ok(Some(beam?));
    }
    Ok(Beam::of_history(header.history.iter().map(String::as_str)))
}

/// True for cards that this module or the writer makes itself.
pub(super) fn is_structural(key: &str) -> bool {
    const EXACT: &[&str] = &[
        "SIMPLE", "BITPIX", "EXTEND", "BSCALE", "BZERO", "BLANK", "GROUPS", "PCOUNT", "GCOUNT", "XTENSION", "EXTNAME", "EXTVER", "BUNIT",
        "BMAJ", "BMIN", "BPA", "BEAM", "CASAMBM", "CHECKSUM", "DATASUM", "DATAMIN", "DATAMAX", "WCSAXES", "LONPOLE", "LATPOLE", "RADESYS",
        "RADECSYS", "EQUINOX", "EPOCH", "SPECSYS", "RESTFRQ", "RESTFREQ", "RESTWAV", "VELREF", "ALTRVAL", "ALTRPIX", "INHERIT", "LONGSTRN",
        "DATE", "O_BLANK", "O_BSCALE", "O_BZERO",
    ];
    const INDEXED: &[&str] = &["NAXIS", "CTYPE", "CRVAL", "CDELT", "CRPIX", "CUNIT", "CROTA", "CNAME"];
    const MATRIX: &[&str] = &["PC", "CD", "PV", "PS"];
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    EXACT.contains(&key)
        || INDEXED.iter().any(|p| key.strip_prefix(p).is_some_and(digits))
        || MATRIX.iter().any(|p| key.strip_prefix(p).is_some_and(|r| !r.is_empty() && digits(r)))
        || (key.starts_with('Z')
            && ["ZIMAGE", "ZCMPTYPE", "ZBITPIX", "ZNAXIS", "ZQUANTIZ", "ZDITHER0", "ZSCALE", "ZZERO", "ZBLANK"]
                .iter()
                .any(|z| key.starts_with(z)))
}

fn real(key: impl Into<String>, v: f64, comment: &str) -> Card {
    Card { key: key.into(), value: CardValue::Real(v), comment: comment.into() }
}

fn text(key: impl Into<String>, v: &str, comment: &str) -> Card {
    Card { key: key.into(), value: CardValue::Text(v.into()), comment: comment.into() }
}

/// Cards of the coordinates of an image or cube.
pub(super) fn coordinate_cards(sky: &Celestial, spectral: Option<&SpectralAxis>) -> Vec<Card> {
    let k = sky.keys();
    let mut out = vec![Card {
        key: "WCSAXES".into(),
        value: CardValue::Int(if spectral.is_some() { 3 } else { 2 }),
        comment: "Number of coordinate axes".into(),
    }];
    let (lon, lat) = if k.frame == Frame::Galactic { ("GLON", "GLAT") } else { ("RA--", "DEC-") };
    // NCP is no code of the standard: it is SIN with a slant (Calabretta & Greisen 2002, A&A 395, 1077, section 6.1.1).
    let projection = match k.projection {
        Projection::Ncp => Projection::Sin { xi: 0.0, eta: 1.0 / k.crval[1].to_radians().tan() },
        other => other,
    };
    let diagonal = k.cd[0][1] == 0.0 && k.cd[1][0] == 0.0;
    for (i, name) in [lon, lat].into_iter().enumerate() {
        let n = i + 1;
        let norm = k.cd[i][0].hypot(k.cd[i][1]);
        let cdelt = if diagonal { k.cd[i][i] } else { norm.copysign(k.cd[i][i]) };
        out.push(text(format!("CTYPE{n}"), &format!("{name}-{}", projection.code()), ""));
        out.push(real(format!("CRVAL{n}"), k.crval[i], "[deg]"));
        out.push(real(format!("CDELT{n}"), cdelt, "[deg]"));
        out.push(real(format!("CRPIX{n}"), k.crpix[i], ""));
        out.push(text(format!("CUNIT{n}"), "deg", ""));
        if !diagonal {
            for j in 0..2 {
                out.push(real(format!("PC{n}_{}", j + 1), k.cd[i][j] / cdelt, ""));
            }
        }
    }
    if let Projection::Sin { xi, eta } = projection
        && (xi != 0.0 || eta != 0.0)
    {
        out.push(real("PV2_1", xi, "Slant of the orthographic projection"));
        out.push(real("PV2_2", eta, "Slant of the orthographic projection"));
    }
    if let Some(s) = spectral {
        out.push(text("CTYPE3", s.kind().code(), ""));
        out.push(real("CRVAL3", s.crval(), ""));
        out.push(real("CDELT3", s.cdelt(), ""));
        out.push(real("CRPIX3", s.crpix(), ""));
        out.push(text("CUNIT3", s.kind().unit(), ""));
    }
    if let Some(v) = k.lonpole {
        out.push(real("LONPOLE", v, "[deg] Native longitude of celestial pole"));
    }
    if let Some(v) = k.latpole {
        out.push(real("LATPOLE", v, "[deg] Native latitude of celestial pole"));
    }
    if k.frame != Frame::Galactic {
        let radesys = match (&k.radesys, k.frame) {
            (Some(name), _) => name.as_str(),
            (None, Frame::Icrs) => "ICRS",
            (None, Frame::B1950) => "FK4",
            (None, _) => "FK5",
        };
        out.push(text("RADESYS", radesys, "Equatorial coordinate system"));
        let default = match k.frame {
            Frame::J2000 => Some(2000.0),
            Frame::B1950 => Some(1950.0),
            _ => None,
        };
        if let Some(e) = k.equinox.filter(|_| radesys != "ICRS").or(default) {
            out.push(real("EQUINOX", e, "[yr] Equinox of equatorial coordinates"));
        }
    }
    out
}

/// Cards of rest frequency and frame.
pub(super) fn line_cards(rest_hz: Option<f64>, frame: Option<SpectralFrame>) -> Vec<Card> {
    let mut out = Vec::new();
    if let Some(f) = rest_hz {
        out.push(real("RESTFRQ", f, "[Hz] Line rest frequency"));
    }
    if let Some(f) = frame {
        out.push(text("SPECSYS", f.name(), "Reference frame of spectral coordinates"));
    }
    out
}

/// Cards of a beam.
pub(super) fn beam_cards(beam: Beam) -> Vec<Card> {
    vec![
        real("BMAJ", beam.bmaj_rad().to_degrees(), "[deg] FWHM major axis"),
        real("BMIN", beam.bmin_rad().to_degrees(), "[deg] FWHM minor axis"),
        real("BPA", beam.bpa_rad().to_degrees(), "[deg] Position angle, north to east"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beams_in_the_history_of_other_programs() {
        let mut h = Header::default();
        h.history.push("AIPS   CLEAN BMAJ=  2.3611E-03 BMIN=  1.1111E-03 BPA=   0.00".into());
        let b = beam_of(&h).unwrap().unwrap();
        assert!((b.bmaj_rad().to_degrees() - 2.3611e-3).abs() < 1e-12);
        h.history.push("Sun Nov 17 2013 clean: restoration: 0.337 by 0.249 (arcsec) at pa 32.4 (deg)".into());
        let b = beam_of(&h).unwrap().unwrap();
        assert!((b.bmin_rad() / crate::units::ARCSEC - 0.249).abs() < 1e-12 && (b.bpa_rad().to_degrees() - 32.4).abs() < 1e-12);
    }

    #[test]
    fn coordinate_cards_are_not_carried_along_twice() {
        for key in ["NAXIS", "NAXIS3", "PC1_1", "PC01_02", "CD2_1", "CTYPE4", "BMAJ", "ZNAXIS1"] {
            assert!(is_structural(key), "{key}");
        }
        for key in ["OBJECT", "PCAL", "CDELTA", "JYTOK", "ZENITH", "RMS"] {
            assert!(!is_structural(key), "{key}");
        }
    }
}
