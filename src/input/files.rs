//! The files of a job, of all formats that are known, as one source.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::ipc::reader::StreamReader;
use tempfile::NamedTempFile;

use crate::error::{Error, Phase, Setting};

use super::delta::live_files;
use super::found::{Expanded, FoundFile, FoundTable, Skipped};
use super::guard::guard;
use super::location::Location;
use super::memory::Memory;
use super::parquet::ParquetFiles;
use super::parquet::partitions::PartitionOptions;
use super::parquet::paths::expand;
use super::source::{Fragment, RecordBatches, Source};
use super::text::TextFile;

/// The input that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// Files of Parquet and of text, sorted by path; every file is a fragment.
#[derive(Debug, Clone)]
pub struct InputFiles {
    parquet: ParquetFiles,
    texts: Vec<TextFile>,
    /// The batches of an Arrow stream.
    stream: Option<Memory>,
    /// What standard input held, where it is Parquet: the file lives as long as its reader.
    _standard_input: Option<Arc<NamedTempFile>>,
    fragments: Vec<Fragment>,
    /// The place of each fragment among the files of its format.
    places: Vec<Place>,
}

/// A file's place among the files of its format.
#[derive(Debug, Clone, Copy)]
enum Place {
    Parquet(usize),
    Text(usize),
    Stream,
}

impl InputFiles {
    /// Finds files by names, directories and globs, and reads what tells their columns.
    ///
    /// A directory stands for the Parquet files below it (see [`ParquetFiles::find`]), and that of a Delta table for the files of the
    /// table's current version. Files of text are read where they are
    /// named, or match a glob that ends as they do: `.csv`, `.tsv`, `.jsonl`, also with `.gz` or `.zst`. `-` alone is standard
    /// input, with a Parquet file or an Arrow stream.
    ///
    /// # Errors
    /// If there is no file, a file cannot be read or is not what its name says, or a Delta table is not complete or uses features
    /// that are not known.
    pub fn find(inputs: &[String], partitions: PartitionOptions) -> Result<InputFiles, Error> {
        if inputs.iter().any(|input| input == STANDARD_INPUT) {
            return if inputs.len() == 1 { InputFiles::of_standard_input() } else { Err(alone()) };
        }
        let Expanded { files, tables, skipped } = expand(inputs)?;
        let files = with_tables(files, &tables)?;
        let (texts, rest): (Vec<FoundFile>, Vec<FoundFile>) =
            files.into_iter().partition(|file| file.text.is_some());
        let parquet = ParquetFiles::of(rest, skipped, partitions)?;
        let mut found: Vec<(Fragment, Place)> = Vec::new();
        for (i, fragment) in parquet.fragments().iter().enumerate() {
            found.push((fragment.clone(), Place::Parquet(i)));
        }
        let mut text_files = Vec::new();
        for FoundFile { location, text, .. } in texts {
            let Some(format) = text else { continue };
            let (file, fragment) = TextFile::inspect(location, format)?;
            found.push((fragment, Place::Text(text_files.len())));
            text_files.push(file);
        }
        if found.is_empty() {
            return Err(Error::OnlyResults { path: inputs.join(", ") });
        }
        found.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        for i in 1..found.len() {
            if found[i].0.schema == found[i - 1].0.schema {
                found[i].0.schema = Arc::clone(&found[i - 1].0.schema);
            }
        }
        let (fragments, places) = found.into_iter().unzip();
        Ok(InputFiles { parquet, texts: text_files, stream: None, _standard_input: None, fragments, places })
    }

    /// Reads standard input, which holds a Parquet file or an Arrow stream, into a temporary file.
    fn of_standard_input() -> Result<InputFiles, Error> {
        let unreadable =
            |source| Error::Unreadable { path: "standard input".to_owned(), source, phase: Phase::Inspect };
        let mut file = NamedTempFile::with_prefix("standard-input-").map_err(unreadable)?;
        std::io::copy(&mut std::io::stdin().lock(), &mut file).map_err(unreadable)?;
        file.flush().map_err(unreadable)?;
        let name = |mut fragments: Vec<Fragment>| {
            fragments.iter_mut().for_each(|fragment| STANDARD_INPUT.clone_into(&mut fragment.name));
            fragments
        };
        let mut mark = Vec::new();
        let open = || File::open(file.path()).map_err(unreadable);
        open()?.take(4).read_to_end(&mut mark).map_err(unreadable)?;
        let no_parquet = ParquetFiles::of(Vec::new(), Vec::new(), PartitionOptions::default())?;
        if mark != b"PAR1" {
            let stream = stream(open()?)?;
            let fragments = name(stream.fragments().to_vec());
            let (texts, places) = (Vec::new(), vec![Place::Stream]);
            let parquet = no_parquet;
            return Ok(InputFiles {
                parquet,
                texts,
                stream: Some(stream),
                _standard_input: None,
                fragments,
                places,
            });
        }
        let found = FoundFile {
            location: Location::of_file(file.path().to_owned()),
            named: true,
            typed: usize::MAX,
            text: None,
            table: None,
        };
        let parquet = ParquetFiles::of(vec![found], Vec::new(), PartitionOptions::default())?;
        let fragments = name(parquet.fragments().to_vec());
        Ok(InputFiles {
            parquet,
            texts: Vec::new(),
            stream: None,
            _standard_input: Some(Arc::new(file)),
            fragments,
            places: vec![Place::Parquet(0)],
        })
    }

    /// Returns the files and directories that the inputs match and that are not read, with the reasons.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        self.parquet.skipped()
    }

    /// Returns the number of files that are not opened, because the condition excludes their partitions.
    #[must_use]
    pub fn pruned(&self) -> usize {
        self.parquet.pruned()
    }
}

/// Returns files and the files of tables, sorted by path, each once: a file that is also one of a table's is the table's.
fn with_tables(files: Vec<FoundFile>, tables: &[FoundTable]) -> Result<Vec<FoundFile>, Error> {
    if tables.is_empty() {
        return Ok(files);
    }
    let mut all = Vec::new();
    for table in tables {
        all.extend(live_files(table)?);
    }
    all.extend(files);
    let mut seen = HashSet::new();
    // A file that does not exist is reported where it is opened.
    let resolved = |path: &PathBuf| fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    all.retain(|file| seen.insert(resolved(&file.location.path)));
    all.sort_by(|a, b| a.location.path.cmp(&b.location.path));
    Ok(all)
}

/// Returns the error for standard input beside other inputs.
fn alone() -> Error {
    let reason = "standard input is read alone; leave out the other inputs".to_owned();
    Error::Invalid { place: Setting::Inputs.of(STANDARD_INPUT), reason }
}

/// Returns the batches of an Arrow stream.
fn stream(file: File) -> Result<Memory, Error> {
    let bad = |reason: String| Error::BadText {
        path: "standard input".to_owned(),
        reason: format!("it is neither a Parquet file nor an Arrow stream ({reason})"),
    };
    let reader = || StreamReader::try_new_buffered(file, None);
    let reader = guard(reader).map_err(bad)?.map_err(|error| bad(error.to_string()))?;
    let schema = reader.schema();
    let batches = guard(|| reader.collect::<Result<Vec<_>, _>>()).map_err(bad)?;
    Memory::new(schema, batches.map_err(|error| bad(error.to_string()))?)
}

impl Source for InputFiles {
    fn fragments(&self) -> &[Fragment] {
        &self.fragments
    }

    fn read(&self, fragment: usize, columns: &HashSet<String>) -> Result<RecordBatches<'_>, Error> {
        self.read_part(fragment, &(0..self.fragments[fragment].rows), columns)
    }

    fn parts(&self, fragment: usize) -> Vec<Range<u64>> {
        match self.places[fragment] {
            Place::Parquet(file) => self.parquet.parts(file),
            Place::Text(_) | Place::Stream => std::iter::once(0..self.fragments[fragment].rows).collect(),
        }
    }

    fn read_part(
        &self,
        fragment: usize,
        part: &Range<u64>,
        columns: &HashSet<String>,
    ) -> Result<RecordBatches<'_>, Error> {
        match self.places[fragment] {
            Place::Parquet(file) => self.parquet.read_part(file, part, columns),
            Place::Text(file) => self.texts[file].read(&self.fragments[fragment], columns),
            Place::Stream => match &self.stream {
                Some(stream) => stream.read(0, columns),
                None => Ok(Box::new(std::iter::empty())),
            },
        }
    }
}
