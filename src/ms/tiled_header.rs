//! Headers of casacore's tiled storage managers: hypercubes, tiles, files, and which row lies where.

use super::aipsio::{AipsIo, CellType};
use super::error::MsError;
use super::table_files::{ColumnFile, Hypercolumn, Manager, TableFiles};

/// One hypercube: the cells of one shape, stacked along a last axis of rows, cut into tiles.
///
/// All axes are in casacore's order, first axis fastest; the last one counts rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Cube {
    /// Lengths of the axes.
    pub shape: Vec<u64>,
    /// Lengths of a tile; edge tiles are stored whole.
    pub tile: Vec<u64>,
    /// Number of the `_TSM` file; negative for none.
    pub file: i32,
    /// Where in that file the first tile begins.
    pub offset: u64,
}

/// Consecutive rows that lie one after the other in one cube.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRun {
    /// First row.
    pub first: u64,
    /// One past the last row.
    pub end: u64,
    /// Index of the cube; `None` for rows without a value.
    pub cube: Option<usize>,
    /// Place of the first row along the cube's last axis.
    pub position: u64,
}

/// What the header of a tiled storage manager says.
#[derive(Debug, Clone)]
pub struct TiledHeader {
    /// Number of rows.
    pub rows: u64,
    /// The columns kept in the tiles, in the order in which they lie in a tile.
    pub columns: Vec<ColumnFile>,
    /// Hypercubes.
    pub cubes: Vec<Cube>,
    /// Rows in ascending order; rows after the last run have no value.
    pub runs: Vec<RowRun>,
}

type Read<T> = Result<T, MsError>;

impl TiledHeader {
    /// Reads the header of `manager`; `None` for managers that are not tiled or arrange rows along more than one axis.
    pub fn read(table: &TableFiles, manager: &Manager) -> Read<Option<TiledHeader>> {
        if !table.separate_files || !manager.kind.starts_with("Tiled") {
            return Ok(None);
        }
        let path = table.manager_file(manager.number);
        let bytes = std::fs::read(&path).map_err(|e| MsError::io(format!("read table.f{}", manager.number), e))?;
        let io = &mut AipsIo::new(&bytes);
        match manager.kind.as_str() {
            "TiledColumnStMan" => column_manager(io, table, manager).map(Some),
            "TiledShapeStMan" => shape_manager(io, table, manager).map(Some),
            "TiledCellStMan" => cell_manager(io, table, manager).map(Some),
            "TiledDataStMan" => data_manager(io, table, manager),
            _ => Ok(None),
        }
    }
}

/// The part that all tiled managers share.
struct Common {
    version: u32,
    rows: u64,
    columns: Vec<ColumnFile>,
    cubes: Vec<Cube>,
}

fn column_manager(io: &mut AipsIo, table: &TableFiles, manager: &Manager) -> Read<TiledHeader> {
    io.start("TiledColumnStMan")?;
    io.shape()?;
    let c = common(io, table, manager, false)?;
    let runs = vec![RowRun { first: 0, end: c.rows, cube: Some(0), position: 0 }];
    checked(TiledHeader { rows: c.rows, columns: c.columns, cubes: c.cubes, runs })
}

fn shape_manager(io: &mut AipsIo, table: &TableFiles, manager: &Manager) -> Read<TiledHeader> {
    io.start("TiledShapeStMan")?;
    let c = common(io, table, manager, false)?;
    io.shape()?;
    let used = io.u32()? as usize;
    let (last_row, cube, last_position) = (io.block(false)?, io.block(false)?, io.block(false)?);
    if cube.len() < used || last_position.len() < used || last_row.len() < used {
        return Err(MsError::Damaged(format!("row map of {used} entries has only {}", last_row.len())));
    }
    let mut runs = Vec::with_capacity(used);
    let mut first = 0;
    for i in 0..used {
        let (end, length) = (last_row[i] + 1, (last_row[i] + 1).saturating_sub(first));
        // Cube 0 stands for rows without a value.
        let cube = (cube[i] > 0).then_some(cube[i] as usize);
        runs.push(RowRun { first, end, cube, position: (last_position[i] + 1).saturating_sub(length) });
        first = end;
    }
    checked(TiledHeader { rows: c.rows, columns: c.columns, cubes: c.cubes, runs })
}

fn cell_manager(io: &mut AipsIo, table: &TableFiles, manager: &Manager) -> Read<TiledHeader> {
    io.start("TiledCellStMan")?;
    io.shape()?;
    let mut c = common(io, table, manager, false)?;
    // One cube a row: given a last axis of one row, it reads like the others.
    let mut runs = Vec::with_capacity(c.cubes.len());
    for (i, cube) in c.cubes.iter_mut().enumerate() {
        let defined = !cube.shape.is_empty();
        cube.shape.push(1);
        cube.tile.push(1);
        runs.push(RowRun { first: i as u64, end: i as u64 + 1, cube: defined.then_some(i), position: 0 });
    }
    checked(TiledHeader { rows: c.rows, columns: c.columns, cubes: c.cubes, runs })
}

fn data_manager(io: &mut AipsIo, table: &TableFiles, manager: &Manager) -> Read<Option<TiledHeader>> {
    let version = io.start("TiledDataStMan")?;
    let c = common(io, table, manager, true)?;
    let wide = version > 1 || c.version >= 3;
    let used_rows = if wide { io.u64()? } else { u64::from(io.u32()?) };
    if version == 1 {
        io.u32()?;
    }
    let (first_row, cube, position) = (io.block(version > 1)?, io.block(false)?, io.block(false)?);
    if cube.len() < first_row.len() || position.len() < first_row.len() {
        return Err(MsError::Damaged(format!("row map of {} entries has only {}", first_row.len(), cube.len())));
    }
    let n_dim = c.columns.first().map_or(0, |column| column.n_dim.max(0) as usize);
    if c.cubes.iter().any(|cube| !cube.shape.is_empty() && cube.shape.len() != n_dim + 1) {
        return Ok(None);
    }
    let runs = (0..first_row.len())
        .map(|i| {
            let end = first_row.get(i + 1).copied().unwrap_or(used_rows);
            RowRun { first: first_row[i], end, cube: Some(cube[i] as usize), position: position[i] }
        })
        .filter(|run| run.end > run.first)
        .collect();
    checked(TiledHeader { rows: c.rows, columns: c.columns, cubes: c.cubes, runs }).map(Some)
}

fn common(io: &mut AipsIo, table: &TableFiles, manager: &Manager, by_definition: bool) -> Read<Common> {
    let version = io.start("TiledStMan")?;
    let big_endian = if version >= 2 { io.bool()? } else { true };
    if big_endian != table.big_endian {
        return Err(MsError::Damaged(format!("byte order of table.f{} differs from that of table.dat", manager.number)));
    }
    let wide = version >= 3;
    let number = io.u32()?;
    if number != manager.number {
        return Err(MsError::Damaged(format!("table.f{} says it is number {number}", manager.number)));
    }
    let rows = wide_or(io, wide)?;
    let bound = io.count(4)?;
    io.take(4 * bound)?;
    let name = io.text()?;
    wide_or(io, wide)?;
    io.u32()?;
    let n_files = wide_or(io, wide)?;
    let n_files = io.fits(n_files, 1)?;
    for _ in 0..n_files {
        if io.bool()? {
            let large = io.u32()? > 1;
            io.u32()?;
            wide_or(io, large)?; // length: the file itself is asked
        }
    }
    let n_cubes = wide_or(io, wide)?;
    let n_cubes = io.fits(n_cubes, 16)?;
    let cubes = (0..n_cubes).map(|_| cube(io)).collect::<Read<Vec<_>>>()?;
    io.end();
    let columns = columns_in_tile(table, manager, &name, by_definition)?;
    Ok(Common { version, rows, columns, cubes })
}

fn wide_or(io: &mut AipsIo, wide: bool) -> Read<u64> {
    if wide { io.u64() } else { io.u32().map(u64::from) }
}

fn cube(io: &mut AipsIo) -> Read<Cube> {
    let large = io.u32()? > 1;
    io.skip_object()?; // values of coordinates
    io.bool()?;
    io.u32()?;
    let (shape, tile) = (io.shape()?, io.shape()?);
    let file = io.i32()?;
    let offset = wide_or(io, large)?;
    Ok(Cube { shape, tile, file, offset })
}

/// The data columns of a manager as they lie in a tile: the longest numbers first, Bool (bits) last; of equal length
/// the later one first, because casacore sorts upwards, keeping order, and then reverses.
fn columns_in_tile(table: &TableFiles, manager: &Manager, hypercolumn: &str, by_definition: bool) -> Read<Vec<ColumnFile>> {
    let definition: Option<&Hypercolumn> = table.hypercolumns.iter().find(|h| h.name == hypercolumn);
    let mut columns: Vec<ColumnFile> = match definition {
        Some(h) => h.data.iter().filter_map(|name| table.column(name)).filter(|c| c.manager == manager.number).cloned().collect(),
        None if by_definition => {
            return Err(MsError::Damaged(format!("hypercolumn {hypercolumn} of table.f{} is not defined", manager.number)));
        }
        None => table.columns.iter().filter(|c| c.manager == manager.number).cloned().collect(),
    };
    if let Some(c) = columns.iter().find(|c| c.cell.tile_bytes().is_none()) {
        return Err(MsError::Damaged(format!("column {} of type {:?} in a tiled storage manager", c.name, c.cell)));
    }
    columns.sort_by_key(|c| c.cell.tile_bytes());
    columns.reverse();
    Ok(columns)
}

/// Bytes that `pixels` numbers of a type take in a tile.
pub fn tile_column_bytes(cell: CellType, pixels: u64) -> u64 {
    match cell.tile_bytes() {
        Some(0) | None => pixels.div_ceil(8),
        Some(n) => pixels * n as u64,
    }
}

/// Refuses a header whose numbers cannot be true, so that readers need not check again.
fn checked(header: TiledHeader) -> Read<TiledHeader> {
    const LIMIT: u64 = 1 << 48;
    for cube in header.cubes.iter().filter(|c| !c.shape.is_empty()) {
        let product = |axes: &[u64]| axes.iter().try_fold(1u64, |p, n| p.checked_mul(*n).filter(|p| *p < LIMIT));
        let sound = cube.shape.len() == cube.tile.len()
            && cube.tile.iter().all(|t| *t > 0)
            && product(&cube.shape).is_some()
            && product(&cube.tile).is_some()
            && cube.offset < LIMIT;
        if !sound {
            return Err(MsError::Damaged(format!("hypercube of shape {:?} in tiles of {:?}", cube.shape, cube.tile)));
        }
    }
    let mut next = 0;
    for run in &header.runs {
        let room = match run.cube {
            None => true,
            Some(i) => header
                .cubes
                .get(i)
                .is_some_and(|c| c.shape.last().is_some_and(|n| run.position + (run.end.saturating_sub(run.first)) <= *n)),
        };
        if run.first != next || run.end < run.first || run.end > header.rows || !room {
            return Err(MsError::Damaged(format!("rows {} to {} have no place in the hypercubes", run.first, run.end)));
        }
        next = run.end;
    }
    Ok(header)
}
