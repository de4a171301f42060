//! The files of a job, of all formats that are known, as one source.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::Error;

use super::parquet::ParquetFiles;
use super::parquet::partitions::PartitionOptions;
use super::parquet::paths::{Expanded, FoundFile, Skipped, expand};
use super::source::{Fragment, RecordBatches, Source};
use super::text::TextFile;

/// Files of Parquet and of text, sorted by path; every file is a fragment.
#[derive(Debug, Clone)]
pub struct InputFiles {
    parquet: ParquetFiles,
    texts: Vec<TextFile>,
    fragments: Vec<Fragment>,
    /// The place of each fragment among the files of its format.
    places: Vec<Place>,
}

/// A file's place among the files of its format.
#[derive(Debug, Clone, Copy)]
enum Place {
    Parquet(usize),
    Text(usize),
}

impl InputFiles {
    /// Finds files by names, directories and globs, and reads what tells their columns.
    ///
    /// A directory stands for the Parquet files below it (see [`ParquetFiles::find`]). Files of text are read where they are
    /// named, or match a glob that ends as they do: `.csv`, `.tsv`, `.jsonl`, also with `.gz` or `.zst`.
    ///
    /// # Errors
    /// If there is no file, or a file cannot be read or is not what its name says.
    pub fn find(inputs: &[String], partitions: PartitionOptions) -> Result<InputFiles, Error> {
        let Expanded { files, skipped } = expand(inputs)?;
        let (texts, rest): (Vec<FoundFile>, Vec<FoundFile>) =
            files.into_iter().partition(|file| file.text.is_some());
        let parquet = ParquetFiles::of(rest, skipped, partitions)?;
        let mut found: Vec<(Fragment, Place)> = Vec::new();
        for (i, fragment) in parquet.fragments().iter().enumerate() {
            found.push((fragment.clone(), Place::Parquet(i)));
        }
        let mut text_files = Vec::new();
        for FoundFile { path, text, .. } in texts {
            let Some(format) = text else { continue };
            let (file, fragment) = TextFile::inspect(&path, format)?;
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
        Ok(InputFiles { parquet, texts: text_files, fragments, places })
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

impl Source for InputFiles {
    fn fragments(&self) -> &[Fragment] {
        &self.fragments
    }

    fn read(&self, fragment: usize, columns: &HashSet<String>) -> Result<RecordBatches<'_>, Error> {
        match self.places[fragment] {
            Place::Parquet(file) => self.parquet.read(file, columns),
            Place::Text(file) => self.texts[file].read(&self.fragments[fragment], columns),
        }
    }
}
