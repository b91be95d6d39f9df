//! The files of an image: `PREFIX.image.fits` and the others, all or none.

use std::path::{Path, PathBuf};

use ndarray::{ArcArray2, Array2, ArrayBase, ArrayView2, CowArray, Data, Ix2};

use crate::data::{Beam, Beams, CardValue, CubeInfo, CubeSink, Meta, Unit};
use crate::error::{Error, Result};
use crate::fits::CubeWriter;
use crate::imaging::{Deconvolver, ImageOptions, Imaged};
use crate::ms::CasaImageWriter;
use crate::sky::{Celestial, SpectralAxis};

/// One file: its ending, its planes, and what its header says of them.
pub struct Product<'a> {
    /// `image.pbcor` for `PREFIX.image.pbcor.fits`.
    pub ending: String,
    n_planes: usize,
    /// Makes a plane when it is written: files together would take many times the memory of the image.
    plane: Box<dyn Fn(usize) -> Plane<'a> + 'a>,
    unit: &'static str,
    kind: &'static str,
    beams: Beams,
}

type Plane<'a> = CowArray<'a, f32, Ix2>;

impl<'a> Product<'a> {
    fn new(ending: &str, n_planes: usize, unit: &'static str, plane: impl Fn(usize) -> Plane<'a> + 'a) -> Product<'a> {
        Product { ending: ending.into(), n_planes, plane: Box::new(plane), unit, kind: "Intensity", beams: Beams::None }
    }
    /// Planes that are there already.
    fn of<S: Data<Elem = f32>>(ending: &str, unit: &'static str, planes: &'a [ArrayBase<S, Ix2>]) -> Product<'a> {
        Product::new(ending, planes.len(), unit, |i| planes[i].view().into())
    }
    fn with_beams(self, beams: &Beams) -> Product<'a> {
        Product { beams: beams.clone(), ..self }
    }
    fn of_kind(self, kind: &'static str) -> Product<'a> {
        Product { kind, ..self }
    }
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
pub fn products<'a>(imaged: &'a Imaged, options: &'a ImageOptions) -> Vec<Product<'a>> {
    let (restored, fitted) = (beams(&imaged.beams), beams(&imaged.fitted));
    // Files of the standard names hold the first of several Taylor terms.
    let n = imaged.image.len() / imaged.n_terms;
    let pb = &imaged.pb[..n.min(imaged.pb.len())];
    let masks = &imaged.cleaned.masks;
    let mask = |i: usize| masks[i].mapv(|m| f32::from(u8::from(m))).into();
    let mut out = vec![
        Product::of("psf", PER_BEAM, &imaged.dirty.psf[..n]).of_kind("Psf").with_beams(&fitted),
        blanked("dirty", &imaged.dirty.image[..n], imaged, options).with_beams(&fitted),
        Product::of("model", "Jy/pixel", &imaged.cleaned.model[..n]),
        blanked("residual", &imaged.cleaned.residual[..n], imaged, options).with_beams(&fitted),
        blanked("image", &imaged.image[..n], imaged, options).with_beams(&restored),
        Product { unit: "", ..blanked("pb", pb, imaged, options).of_kind("Beam") },
        corrected("image", &imaged.image[..n], imaged, options).with_beams(&restored),
        Product::new("mask", masks.len(), "", mask).of_kind("Mask"),
    ];
    if options.deconvolver == Deconvolver::Mtmfs {
        out.extend(taylor_terms(imaged, options, &restored, &fitted));
    }
    if let Some(weight) = &imaged.weight {
        out.push(Product::of("weight", "Jy-2", weight).of_kind("Weight"));
    }
    if let Some(jvm) = &imaged.jvm {
        let lowres = beams(&jvm.lowres_beams);
        for (name, planes, beams) in [("JvMcorr.image", &jvm.image, &restored), ("JvMcorr_lowres.image", &jvm.lowres, &lowres)] {
            out.push(corrected(name, &planes[..n], imaged, options).with_beams(beams));
            out.push(blanked(name, &planes[..n], imaged, options).with_beams(beams));
        }
    }
    out
}

/// Planes blank where the primary beam is below the user's limit.
fn blanked<'a, S: Data<Elem = f32>>(
    ending: &str,
    planes: &'a [ArrayBase<S, Ix2>],
    imaged: &'a Imaged,
    options: &'a ImageOptions,
) -> Product<'a> {
    Product::new(ending, planes.len(), PER_BEAM, |i| imaged.blanked(i, planes[i].view(), options))
}

/// Planes divided by the primary beam.
fn corrected<'a>(name: &str, planes: &'a [Array2<f32>], imaged: &'a Imaged, options: &'a ImageOptions) -> Product<'a> {
    Product::new(&format!("{name}.pbcor"), planes.len(), PER_BEAM, |i| imaged.corrected(i, planes[i].view(), options).into())
}

fn taylor_terms<'a>(imaged: &'a Imaged, options: &'a ImageOptions, restored: &Beams, fitted: &Beams) -> Vec<Product<'a>> {
    let beam = |b: &Beams| b.of_channel(0).map_or(Beams::None, Beams::One);
    let (restored, fitted) = (beam(restored), beam(fitted));
    let term = |name: &str, t: usize, plane: ArrayView2<'a, f32>| {
        Product::new(&format!("{name}.tt{t}"), 1, PER_BEAM, move |_| imaged.blanked(0, plane, options))
    };
    let mut out = Vec::new();
    for t in 0..imaged.n_terms {
        out.push(term("dirty", t, imaged.dirty.image[t].view()).with_beams(&fitted));
        out.push(term("residual", t, imaged.cleaned.residual[t].view()).with_beams(&fitted));
        out.push(term("image", t, imaged.image[t].view()).with_beams(&restored));
        out.push(Product::of(&format!("model.tt{t}"), "Jy/pixel", &imaged.cleaned.model[t..=t]));
    }
    for t in 0..imaged.dirty.psf.len() {
        out.push(Product::of(&format!("psf.tt{t}"), PER_BEAM, &imaged.dirty.psf[t..=t]).of_kind("Psf").with_beams(&fitted));
    }
    if let Some(alpha) = &imaged.alpha {
        let index = |_| alpha.view().into();
        out.push(Product::new("alpha", 1, "", index).of_kind("Spectral Index").with_beams(&restored));
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
    /// Rows and columns.
    pub shape: (usize, usize),
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
pub fn write_model(path: &Path, planes: &[ArcArray2<f32>], header: &Header) -> Result<()> {
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
        write_one(&path, &Product::of("", "Jy/pixel", planes), header)?;
    }
    Ok(())
}

fn write_one(path: &Path, product: &Product, header: &Header) -> Result<()> {
    let info = product.info(header)?;
    put_planes(CubeWriter::create_with_stokes(path, &info, false)?, &info, product)?.finish()
}

fn put_planes<W: CubeSink>(mut writer: W, info: &CubeInfo, product: &Product) -> Result<W> {
    (0..product.n_planes.min(info.n_chan())).try_for_each(|i| writer.put_plane((product.plane)(i).view()))?;
    Ok(writer)
}

impl Product<'_> {
    /// Grid, unit, beams and cards of the file.
    fn info(&self, header: &Header) -> Result<CubeInfo> {
        let (n, (ny, nx)) = (self.n_planes, header.shape);
        let spectral = if n == header.spectral.n_chan() { header.spectral.clone() } else { header.spectral.slab(0, 1)? };
        let info = CubeInfo::new(header.sky.clone(), spectral, ny, nx, Unit::new(self.unit))?;
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
