//! A safe handle on cfitsio, opened without its extended file names (`a[1].fits` is a file here, not a filter).

use std::ffi::CString;
use std::os::raw::{c_char, c_int, c_long};
use std::path::Path;

use fitsio::sys;

use super::FitsError;
use super::header::Header;

/// An open FITS file, read only.
pub(super) struct Handle(*mut sys::fitsfile);

// SAFETY: the bundled cfitsio is built with `--enable-reentrant`; a handle may move between threads, and `&mut self`
// on every call keeps it in one thread at a time.
unsafe impl Send for Handle {}

/// FITS begins with SIMPLE; what else begins otherwise is FITS only if it is compressed.
fn refuse_other_formats(path: &Path) -> Result<(), FitsError> {
    use std::io::Read;
    let Ok(mut file) = std::fs::File::open(path) else { return Ok(()) };
    let mut head = [0u8; 9];
    let n = file.read(&mut head).unwrap_or(0);
    let compressed = [&b"\x1f\x8b"[..], b"\x1f\x9d", b"BZh", b"PK"].iter().any(|m| head.starts_with(m));
    if path.is_dir() || compressed || head.starts_with(b"SIMPLE") {
        return Ok(());
    }
    Err(FitsError::NotFits(head[..n].escape_ascii().to_string()))
}

/// What an HDU holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HduKind {
    Image,
    Table,
}

impl Handle {
    pub(super) fn open(path: &Path) -> Result<Handle, FitsError> {
        use std::os::unix::ffi::OsStrExt;
        refuse_other_formats(path)?;
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| FitsError::Cfitsio {
            what: "open the file".into(),
            reason: "its name holds a NUL byte".into(),
            status: 104,
        })?;
        let mut fptr = std::ptr::null_mut();
        let mut status = 0;
        // SAFETY: `name` lives through the call; cfitsio sets `fptr` or a status.
        unsafe { sys::ffdkopn(&mut fptr, name.as_ptr(), 0, &mut status) };
        checked(status, "open the file")?;
        Ok(Handle(fptr))
    }

    pub(super) fn n_hdu(&mut self) -> Result<usize, FitsError> {
        let (mut n, mut status): (c_int, c_int) = (0, 0);
        // SAFETY: the handle is open.
        unsafe { sys::ffthdu(self.0, &mut n, &mut status) };
        checked(status, "count the extensions")?;
        Ok(n.max(0) as usize)
    }

    /// Goes to HDU `i`, counted from 0.
    pub(super) fn select(&mut self, i: usize) -> Result<HduKind, FitsError> {
        let (mut kind, mut status): (c_int, c_int) = (0, 0);
        // SAFETY: the handle is open.
        unsafe { sys::ffmahd(self.0, i as c_int + 1, &mut kind, &mut status) };
        checked(status, &format!("go to extension {i}"))?;
        Ok(if kind == 0 { HduKind::Image } else { HduKind::Table })
    }

    pub(super) fn header(&mut self) -> Result<Header, FitsError> {
        let (mut n, mut more, mut status): (c_int, c_int, c_int) = (0, 0, 0);
        // SAFETY: the handle is open; records are at most 80 characters and a NUL.
        unsafe { sys::ffghsp(self.0, &mut n, &mut more, &mut status) };
        checked(status, "read the header")?;
        let mut records = Vec::with_capacity(n.max(0) as usize);
        for i in 1..=n {
            let mut card = [0 as c_char; 96];
            unsafe { sys::ffgrec(self.0, i, card.as_mut_ptr(), &mut status) };
            checked(status, "read the header")?;
            records.push(card.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect::<Vec<u8>>());
        }
        Ok(Header::from_records(records.iter().map(Vec::as_slice)))
    }

    /// Image dimensions in FITS order; those of the image itself where it is tile-compressed.
    pub(super) fn image_size(&mut self) -> Result<Vec<usize>, FitsError> {
        let (mut n, mut status): (c_int, c_int) = (0, 0);
        // SAFETY: the handle is open; `size` has room for `n` axes.
        unsafe { sys::ffgidm(self.0, &mut n, &mut status) };
        checked(status, "read the image size")?;
        let mut size = vec![0; n.max(0) as usize];
        unsafe { sys::ffgiszll(self.0, n, size.as_mut_ptr(), &mut status) };
        checked(status, "read the image size")?;
        Ok(size.into_iter().map(|v| v.max(0) as usize).collect())
    }

    /// First byte of the data of the current HDU.
    pub(super) fn data_start(&mut self) -> Result<u64, FitsError> {
        let (mut head, mut data, mut end, mut status) = (0, 0, 0, 0);
        // SAFETY: the handle is open.
        unsafe { sys::ffghadll(self.0, &mut head, &mut data, &mut end, &mut status) };
        checked(status, "find the data")?;
        Ok(data.max(0) as u64)
    }

    pub(super) fn is_tile_compressed(&mut self) -> bool {
        let mut status = 0;
        // SAFETY: the handle is open.
        unsafe { sys::fits_is_compressed_image(self.0, &mut status) == 1 }
    }

    /// `out.len()` pixels from the 0-based pixel `first`, scaled, blanks as NaN.
    pub(super) fn read_pixels(&mut self, size: &[usize], first: usize, out: &mut [f64]) -> Result<(), FitsError> {
        let mut position = Vec::with_capacity(size.len());
        let mut rest = first;
        for n in size {
            position.push((rest % n.max(&1)) as i64 + 1);
            rest /= n.max(&1);
        }
        let (mut any, mut status): (c_int, c_int) = (0, 0);
        let mut nan = f64::NAN;
        // SAFETY: `out` has room for the pixels asked for; `nan` and `position` live through the call.
        unsafe {
            sys::ffgpxvll(
                self.0,
                sys::TDOUBLE as c_int,
                position.as_mut_ptr(),
                out.len() as i64,
                (&mut nan as *mut f64).cast(),
                out.as_mut_ptr().cast(),
                &mut any,
                &mut status,
            )
        };
        checked(status, "read the pixels")
    }

    pub(super) fn n_rows(&mut self) -> Result<usize, FitsError> {
        let (mut n, mut status): (c_long, c_int) = (0, 0);
        // SAFETY: the handle is open.
        unsafe { sys::ffgnrw(self.0, &mut n, &mut status) };
        checked(status, "count the rows of the table")?;
        Ok(n.max(0) as usize)
    }

    /// A numeric column by name, first element of each cell; `None` where the table has no such column.
    pub(super) fn column(&mut self, name: &str) -> Result<Option<Vec<f64>>, FitsError> {
        let Ok(c_name) = CString::new(name) else { return Ok(None) };
        let n = self.n_rows()?;
        let (mut i, mut any, mut status): (c_int, c_int, c_int) = (0, 0, 0);
        // SAFETY: the handle is open, the name is not written to, `out` has room for `n` values.
        unsafe { sys::ffgcno(self.0, 0, c_name.as_ptr() as *mut c_char, &mut i, &mut status) };
        if status != 0 {
            unsafe { sys::ffcmsg() };
            return Ok(None);
        }
        let (mut kind, mut repeat, mut width): (c_int, c_long, c_long) = (0, 0, 0);
        unsafe { sys::ffgtcl(self.0, i, &mut kind, &mut repeat, &mut width, &mut status) };
        checked(status, &format!("read column {name}"))?;
        let mut out = vec![f64::NAN; n];
        if repeat == 1 && n > 0 {
            // One element a row: all rows in one call.
            unsafe { sys::ffgcvd(self.0, i, 1, 1, n as i64, f64::NAN, out.as_mut_ptr(), &mut any, &mut status) };
        } else {
            for (row, value) in out.iter_mut().enumerate() {
                unsafe { sys::ffgcvd(self.0, i, row as i64 + 1, 1, 1, f64::NAN, value, &mut any, &mut status) };
            }
        }
        checked(status, &format!("read column {name}"))?;
        Ok(Some(out))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut status = 0;
        // SAFETY: opened by `open`, closed once.
        unsafe { sys::ffclos(self.0, &mut status) };
    }
}

fn checked(status: c_int, what: &str) -> Result<(), FitsError> {
    if status == 0 {
        return Ok(());
    }
    let mut text = [0 as c_char; 64];
    // SAFETY: cfitsio writes at most 31 characters.
    unsafe {
        sys::ffgerr(status, text.as_mut_ptr());
        sys::ffcmsg();
    }
    let reason: String = text.iter().take_while(|c| **c != 0).map(|c| *c as u8 as char).collect();
    Err(FitsError::Cfitsio { what: what.to_string(), reason, status })
}
