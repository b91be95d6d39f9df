//! The files of an image: `PREFIX.image.fits` and the others, all or none.

use std::path::{Path, PathBuf};

use ndarray::Array2;

use crate::data::{Beam, Beams, CardValue, CubeInfo, CubeSink, Meta, Unit};
use crate::error::{Error, Result};
use crate::fits::CubeWriter;
use crate::imaging::{Deconvolver, ImageOptions, Imaged};
use crate::ms::CasaImageWriter;
use crate::sky::{Celestial, SpectralAxis};

/// One file: its ending, its planes, and what its header says of them.
pub struct Product {
    /// `image.pbcor` for `PREFIX.image.pbcor.fits`.
    pub ending: String,
    planes: Vec<Array2<f32>>,
    unit: &'static str,
    kind: &'static str,
    beams: Beams,
}

const PER_BEAM: &str = "Jy/beam";

/// Endings of the files that every image has.
const ALWAYS: [&str; 8] = ["psf", "dirty", "model", "residual", "image", "pb", "image.pbcor", "mask"];
/// Endings of the files with the correction of Jorsater & van Moorsel.
const JVM: [&str; 4] = ["JvMcorr.image", "JvMcorr.image.pbcor", "JvMcorr_lowres.image", "JvMcorr_lowres.image.pbcor"];

/// Endings of the files of an image; `mosaic` where it will be one.
pub fn endings(options: &ImageOptions, mosaic: bool) -> Vec<String> {
    let mut out: Vec<String> = ALWAYS.iter().map(|e| e.to_string()).collect();
    if options.deconvolver == Deconvolver::Mtmfs {
        let terms = |name: &str, n: usize| (0..n).map(move |t| format!("{name}.tt{t}")).collect::<Vec<_>>();
        for name in ["dirty", "model", "residual", "image"] {
            out.extend(terms(name, options.nterms));
        }
        out.extend(terms("psf", 2 * options.nterms - 1));
        if options.nterms > 1 {
            out.push("alpha".into());
        }
    }
    if mosaic {
        out.push("weight".into());
    }
    if options.jvm {
        out.extend(JVM.iter().map(|e| e.to_string()));
    }
    out
}

/// `PREFIX.image.fits`
pub fn path(prefix: &Path, ending: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_os_string();
    name.push(format!(".{ending}.fits"));
    PathBuf::from(name)
}

fn beams(list: &[Option<Beam>]) -> Beams {
    Beams::PerChannel(list.to_vec()).simplified()
}

/// All files of an image.
pub fn products(imaged: &Imaged, options: &ImageOptions) -> Vec<Product> {
    let (restored, fitted) = (beams(&imaged.beams), beams(&imaged.fitted));
    let product = |ending: &str, planes: Vec<Array2<f32>>, unit, kind, beams: &Beams| Product {
        ending: ending.into(),
        planes,
        unit,
        kind,
        beams: beams.clone(),
    };
    // Files of the standard names hold the first of several Taylor terms.
    let n_terms = imaged.n_terms;
    let first = |planes: &[Array2<f32>]| if n_terms > 1 { planes[..1].to_vec() } else { planes.to_vec() };
    let masks: Vec<Array2<f32>> = imaged.cleaned.masks.iter().map(|m| m.mapv(|m| f32::from(u8::from(m)))).collect();
    let blank = |planes: &[Array2<f32>]| imaged.blanked(planes, options);
    let mut out = vec![
        product("psf", first(&imaged.dirty.psf), PER_BEAM, "Psf", &fitted),
        product("dirty", blank(&first(&imaged.dirty.image)), PER_BEAM, "Intensity", &fitted),
        product("model", first(&imaged.cleaned.model), "Jy/pixel", "Intensity", &Beams::None),
        product("residual", blank(&first(&imaged.cleaned.residual)), PER_BEAM, "Intensity", &fitted),
        product("image", blank(&first(&imaged.image)), PER_BEAM, "Intensity", &restored),
        product("pb", blank(&first(&imaged.pb)), "", "Beam", &Beams::None),
        product("image.pbcor", imaged.corrected(&first(&imaged.image), options), PER_BEAM, "Intensity", &restored),
        product("mask", masks, "", "Mask", &Beams::None),
    ];
    if n_terms > 1 {
        out.extend(taylor_terms(imaged, options, &restored, &fitted));
    }
    if let Some(weight) = &imaged.weight {
        out.push(product("weight", weight.clone(), "Jy-2", "Weight", &Beams::None));
    }
    if let Some(jvm) = &imaged.jvm {
        let lowres = beams(&jvm.lowres_beams);
        for (name, planes, beams) in [("JvMcorr.image", &jvm.image, &restored), ("JvMcorr_lowres.image", &jvm.lowres, &lowres)] {
            let planes = first(planes);
            out.push(product(&format!("{name}.pbcor"), imaged.corrected(&planes, options), PER_BEAM, "Intensity", beams));
            out.push(product(name, blank(&planes), PER_BEAM, "Intensity", beams));
        }
    }
    out
}

fn taylor_terms(imaged: &Imaged, options: &ImageOptions, restored: &Beams, fitted: &Beams) -> Vec<Product> {
    let mut out = Vec::new();
    let one = |planes: &Array2<f32>| imaged.blanked(std::slice::from_ref(planes), options);
    let beam = |b: &Beams| b.of_channel(0).map_or(Beams::None, Beams::One);
    let groups = [
        ("dirty", &imaged.dirty.image, PER_BEAM, beam(fitted)),
        ("residual", &imaged.cleaned.residual, PER_BEAM, beam(fitted)),
        ("image", &imaged.image, PER_BEAM, beam(restored)),
    ];
    for (name, planes, unit, beams) in groups {
        for (t, plane) in planes.iter().enumerate() {
            out.push(Product { ending: format!("{name}.tt{t}"), planes: one(plane), unit, kind: "Intensity", beams: beams.clone() });
        }
    }
    for (t, plane) in imaged.cleaned.model.iter().enumerate() {
        out.push(Product {
            ending: format!("model.tt{t}"),
            planes: vec![plane.clone()],
            unit: "Jy/pixel",
            kind: "Intensity",
            beams: Beams::None,
        });
    }
    for (t, plane) in imaged.dirty.psf.iter().enumerate() {
        out.push(Product { ending: format!("psf.tt{t}"), planes: vec![plane.clone()], unit: PER_BEAM, kind: "Psf", beams: beam(fitted) });
    }
    if let Some(alpha) = &imaged.alpha {
        out.push(Product { ending: "alpha".into(), planes: vec![alpha.clone()], unit: "", kind: "Spectral Index", beams: beam(restored) });
    }
    out
}

/// `PREFIX.image`, the CASA image beside `PREFIX.image.fits`.
fn casa_path(fits: &Path) -> PathBuf {
    fits.with_extension("")
}

/// Paths of all files and folders that an image will have.
pub fn paths(prefix: &Path, options: &ImageOptions, mosaic: bool) -> Vec<PathBuf> {
    let files: Vec<PathBuf> = endings(options, mosaic).iter().map(|e| path(prefix, e)).collect();
    let folders = if options.casa { files.iter().map(|f| casa_path(f)).collect() } else { vec![] };
    [files, folders].concat()
}

/// What all files share.
pub struct Header<'a> {
    /// Pixels on the sky.
    pub sky: &'a Celestial,
    /// Frequencies.
    pub spectral: &'a SpectralAxis,
    /// Cards of the observation and HISTORY.
    pub meta: &'a Meta,
}

/// Writes all files, and CASA images beside them if asked for, under temporary names beside their own and then renames them;
/// returns the paths of the files.
pub fn write(prefix: &Path, products: &[Product], header: &Header, casa: bool) -> Result<Vec<(String, PathBuf)>> {
    let folder = prefix.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| Error::io("make the folder of the images", folder, e))?;
    let name = prefix.file_name().ok_or_else(|| Error::user("the prefix of the images has no name").at(prefix))?;
    let marker = format!(".{}.unfinished-{}-", name.to_string_lossy(), std::process::id());
    let unfinished = tempfile::Builder::new().prefix(&marker).tempdir_in(folder).map_err(|e| Error::io("create the images", folder, e))?;
    let draft = unfinished.path().join(name);
    for product in products {
        let (from, to) = (path(&draft, &product.ending), path(prefix, &product.ending));
        write_one(&from, product, header).map_err(|e| Error { path: Some(to.clone()), ..e })?;
        if casa {
            let planes = |info: &CubeInfo| put_planes(CasaImageWriter::create(&casa_path(&from), info)?, info, product)?.finish();
            product.info(header).and_then(|info| planes(&info)).map_err(|e| Error { path: Some(casa_path(&to)), ..e })?;
        }
    }
    let mut out = Vec::new();
    for product in products {
        let (from, to) = (path(&draft, &product.ending), path(prefix, &product.ending));
        if casa {
            publish_folder(&casa_path(&from), &casa_path(&to))?;
        }
        std::fs::rename(&from, &to).map_err(|e| Error::io("give the image its name", &to, e))?;
        out.push((product.ending.clone(), to));
    }
    Ok(out)
}

/// Gives a folder its name, in the place of one that may be overwritten.
fn publish_folder(from: &Path, to: &Path) -> Result<()> {
    if to.is_dir() {
        std::fs::remove_dir_all(to).map_err(|e| Error::io("replace the CASA image", to, e))?;
    }
    std::fs::rename(from, to).map_err(|e| Error::io("give the image its name", to, e))
}

/// Writes a model alone: a cube, or a file for each Taylor term where `path` ends in `.tt0.fits`.
pub fn write_model(path: &Path, planes: &[Array2<f32>], header: &Header) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("make the folder of the images", folder, e))?;
    }
    let name = path.to_string_lossy();
    let root = name.strip_suffix(".tt0.fits").unwrap_or(&name);
    let files = planes.chunks(header.spectral.n_chan().max(1)).enumerate();
    for (term, planes) in files {
        let path = if term == 0 { path.to_path_buf() } else { PathBuf::from(format!("{root}.tt{term}.fits")) };
        if path.exists() {
            std::fs::remove_file(&path).map_err(|e| Error::io("replace the model of an interrupted run", &path, e))?;
        }
        let product = Product { ending: String::new(), planes: planes.to_vec(), unit: "Jy/pixel", kind: "Intensity", beams: Beams::None };
        write_one(&path, &product, header)?;
    }
    Ok(())
}

fn write_one(path: &Path, product: &Product, header: &Header) -> Result<()> {
    let info = product.info(header)?;
    put_planes(CubeWriter::create_with_stokes(path, &info, false)?, &info, product)?.finish()
}

fn put_planes<W: CubeSink>(mut writer: W, info: &CubeInfo, product: &Product) -> Result<W> {
    product.planes.iter().take(info.n_chan()).try_for_each(|plane| writer.put_plane(plane.view()))?;
    Ok(writer)
}

impl Product {
    /// Grid, unit, beams and cards of the file.
    fn info(&self, header: &Header) -> Result<CubeInfo> {
        let (first, n) = (&self.planes[0], self.planes.len());
        let spectral = if n == header.spectral.n_chan() { header.spectral.clone() } else { header.spectral.slab(0, 1)? };
        let info = CubeInfo::new(header.sky.clone(), spectral, first.nrows(), first.ncols(), Unit::new(self.unit))?;
        let beams = match &self.beams {
            Beams::PerChannel(list) if list.len() != n => list.first().copied().flatten().map_or(Beams::None, Beams::One),
            other => other.clone(),
        };
        let mut info = info.with_beams(beams)?;
        info.meta = header.meta.clone();
        info.meta.set("BTYPE", CardValue::Text(self.kind.into()), "");
        Ok(info)
    }
}
