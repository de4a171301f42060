//! Arbitrary bytes as a Parquet file: footers and pages. Reading ends with sweeps or with an error.
//!
//! ```sh
//! mkdir -p corpus/parquet && cp ../../fixtures/*.parquet corpus/parquet
//! cargo +nightly fuzz run --fuzz-dir . parquet -- -rss_limit_mb=1000 -timeout=10
//! ```

#![no_main]

use std::sync::Once;
use std::sync::atomic::AtomicBool;
use std::{env, fs, panic, process};

use libfuzzer_sys::{Corpus, fuzz_target};
use sweepfit::input::{ParquetFiles, Request, Source, read};

static QUIET: Once = Once::new();

fuzz_target!(|bytes: &[u8]| -> Corpus {
    // The reader catches panics of the decoder and calls the file damaged. The fuzzer's own hook would abort before that; what
    // the reader does not catch still ends the process.
    QUIET.call_once(|| panic::set_hook(Box::new(|_| {})));
    let path = env::temp_dir().join(format!("sweepfit-fuzz-{}.parquet", process::id()));
    fs::write(&path, bytes).expect("a file");
    let Ok(source) = ParquetFiles::find(&[path.display().to_string()]) else { return Corpus::Keep };
    // The first column as key, the others as what their types allow.
    let fields = source.fragments().iter().flat_map(|fragment| fragment.schema.fields());
    let names: Vec<String> = fields.map(|field| field.name().clone()).collect();
    for (place, name) in names.iter().enumerate() {
        let request = match place {
            0 => Request { by: vec![name.as_str().into()], ..Request::default() },
            _ => Request { columns: vec![name.clone()], order: vec![name.clone()], ..Request::default() },
        };
        let _ = read(&source, &request, &AtomicBool::new(false));
    }
    Corpus::Keep
});
