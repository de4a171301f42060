//! Object stores: inputs and results in a small server of the protocol of S3, which fails as it is told
//! (`tests/common/store_server.rs`). `SWEEPFIT_STORE`, the URL of an empty directory in a real store, runs the first test there too.

#![cfg(feature = "cloud")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use arrow::array::ArrayRef;
use object_store::{ObjectStore, ObjectStoreExt, parse_url_opts};
use url::Url;

use common::program::{Table, command, text};
use common::store_server::{Fault, StoreServer};
use common::{Folder, floats, strings};

const LINE: [&str; 6] = ["--by", "family", "--law", "y ~ a + b*x", "--bootstrap", "20"];

/// A family's rows, ten points on a line with noise, without the column of the family.
fn columns(scale: f64) -> Vec<(&'static str, ArrayRef)> {
    let noise = [0.1, -0.2, 0.05, 0.1, -0.1, 0.2, -0.15, 0.05, -0.1, 0.05];
    let x: Vec<f64> = (0..10).map(|i| 1.0 + f64::from(i)).collect();
    let y: Vec<f64> = x.iter().zip(noise).map(|(x, noise)| scale * (2.0 + 3.0 * x + noise)).collect();
    vec![("x", floats(&x)), ("y", floats(&y))]
}

/// Writes a tree of partitions and returns the files' paths below the folder.
fn tree(folder: &Folder) -> Vec<String> {
    let families = ["gpt", "llama", "a%20b", "__HIVE_DEFAULT_PARTITION__"];
    let mut paths = Vec::new();
    for (i, family) in families.iter().enumerate() {
        let path = format!("runs/family={family}/part-0.parquet");
        folder.write(&path, &columns(1.0 + i as f64));
        paths.push(path);
    }
    for other in ["runs/_SUCCESS", "runs/notes.txt", "runs/.hidden/x.parquet"] {
        fs::create_dir_all(Path::new(&folder.path(other)).parent().expect("a parent")).expect("a directory");
        fs::write(folder.path(other), "not a table").expect("a file");
        paths.push(other.to_owned());
    }
    paths
}

/// A store and a machine: the variables of the environment with which the program runs, and a directory of caches.
struct Setting {
    folder: Folder,
    /// The URL of a directory in the store.
    url: String,
    environment: Vec<(&'static str, String)>,
}

impl Setting {
    fn of(server: &StoreServer) -> Setting {
        Setting { folder: Folder::new(), url: "s3://lake/x".to_owned(), environment: server.environment() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = command(arguments);
        command.env("XDG_CACHE_HOME", self.folder.path("cache")).env("TOKEN", "of another program");
        command.envs(self.environment.iter().cloned());
        let output = command.output().expect("the program can be started");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!errors.contains("panicked") && !errors.contains("a-secret-of"), "{arguments:?}: {errors}");
        output
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn fail(&self, arguments: &[&str], status: i32) -> String {
        let output = self.run(arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {message}");
        message
    }

    /// Fits inputs to a directory on this machine.
    fn fit(&self, input: &str, out: &str, more: &[&str]) -> Vec<String> {
        let out = self.folder.path(out);
        self.succeed(&[&["fit", input, "--out", &out, "--overwrite", "--quiet"], &LINE[..], more].concat());
        rows(&out)
    }

    /// Publishes the fits of an input in the store.
    fn publish(&self, input: &str, more: &[&str]) -> Vec<String> {
        let lake = self.url("fits");
        [&["fit", input, "--publish", &lake, "--quiet"], &LINE[..], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    fn copied(&self, arguments: &[String]) -> u64 {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let metrics = self.folder.path("metrics");
        self.succeed(&[&arguments[..], &["--metrics", &metrics]].concat());
        let text = fs::read_to_string(metrics).expect("metrics");
        let line = text.lines().find_map(|line| line.strip_prefix("sweepfit_reused_fits ")).expect("a count");
        line.parse().expect("a number")
    }
}

/// Returns a server with a tree of partitions, and the setting in which it is found.
fn with_tree() -> (StoreServer, Setting) {
    let server = StoreServer::start();
    let setting = Setting::of(&server);
    for path in tree(&setting.folder) {
        server.put(&format!("x/{path}"), fs::read(setting.folder.path(&path)).expect("a file"));
    }
    (server, setting)
}

fn rows(directory: &str) -> Vec<String> {
    let tables = ["fits", "coefficients", "replicates", "rejected"];
    tables
        .iter()
        .flat_map(|name| Table::read(&Path::new(directory).join(format!("{name}.parquet"))).bits())
        .collect()
}

/// What is asked of any store: partitions and patterns, a Delta table, text, snapshots, incremental runs from another machine,
/// questions to the result, and old snapshots that go.
fn chain(setting: &Setting, put: &dyn Fn(&str, Vec<u8>)) {
    let local = &setting.folder;
    for path in tree(local) {
        put(&path, fs::read(local.path(&path)).expect("a file"));
    }
    let runs = setting.url("runs");
    let expected = setting.fit(&local.path("runs"), "local", &[]);
    assert_eq!(setting.fit(&runs, "remote", &[]), expected);
    assert_eq!(setting.fit(&format!("{runs}/family=*/*.parquet"), "remote", &[]), expected);
    let two = setting.fit(&format!("{}/family={{gpt,llama}}", local.path("runs")), "local", &[]);
    assert_eq!(setting.fit(&format!("{runs}/family={{gpt,llama}}"), "remote", &[]), two);
    let one = setting.fit(&local.path("runs"), "local", &["--where", "family = 'a b'"]);
    assert_eq!(setting.fit(&runs, "remote", &["--where", "family = 'a b'"]), one);

    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/delta/checkpoint");
    for file in files_below(&table) {
        let below = text(file.strip_prefix(&table).expect("below the table"));
        put(&format!("table/{below}"), fs::read(file).expect("a file"));
    }
    let of_table = setting.fit(&text(&table), "local", &[]);
    assert_eq!(setting.fit(&setting.url("table"), "remote", &[]), of_table);
    assert_eq!(setting.fit(&setting.url("table/**"), "remote", &[]), of_table);

    let csv = "family,x,y\ngpt,1,2\ngpt,2,3.1\ngpt,3,3.9\ngpt,4,5.2\n";
    fs::write(local.path("rows.csv"), csv).expect("a file");
    put("rows.csv", csv.into());
    let of_text = setting.fit(&local.path("rows.csv"), "local", &[]);
    assert_eq!(setting.fit(&setting.url("rows.csv"), "remote", &[]), of_text);

    let publish = setting.publish(&runs, &["--incremental", "--keep", "1"]);
    assert_eq!(setting.copied(&publish), 0);
    let shown = setting.succeed(&["show", &setting.url("fits/current")]);
    assert_eq!(shown, setting.succeed(&["show", &setting.url("fits")]));
    assert_eq!(setting.copied(&publish), 4);
    // Another machine has no copy of what is published.
    fs::remove_dir_all(local.path("cache")).expect("a copy");
    assert_eq!(setting.copied(&publish), 4);
    assert_eq!(setting.succeed(&["show", &setting.url("fits/current")]), shown);
    let answer = setting.url("answer.csv");
    setting.succeed(&["predict", &setting.url("fits/current"), "--at", "x=20", "--out", &answer]);

    let new = setting.url("new");
    setting.succeed(&[&["fit", &runs, "--out", &new, "--quiet"], &LINE[..]].concat());
    let differences = setting.succeed(&["diff", &new, &setting.url("fits/current")]);
    assert!(differences.contains("0 added, 0 gone, 0 status, 0 moved, 0 changed, 4 equal"), "{differences}");
    let message =
        setting.fail(&[&["fit", &runs, "--out", &new, "--overwrite", "--quiet"], &LINE[..]].concat(), 2);
    assert!(message.contains("name a new directory, or publish snapshots"), "{message}");
}

fn files_below(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn a_store_is_read_and_written_as_a_disk_is() {
    let server = StoreServer::start();
    let setting = Setting::of(&server);
    // Directories that some tools mark by objects.
    for marker in ["x/runs/", "x/runs/family=gpt/", "x/table/", "x/fits/"] {
        server.put(marker, Vec::new());
    }
    chain(&setting, &|path, content| server.put(&format!("x/{path}"), content));
    // The current snapshot, an old one, and the object that names the current one.
    let keys = server.keys();
    let snapshots: std::collections::BTreeSet<&str> =
        keys.iter().filter_map(|key| key.strip_prefix("x/fits/snapshots/")?.split('/').next()).collect();
    assert_eq!(snapshots.len(), 2);
    assert!(String::from_utf8_lossy(&server.object("x/answer.csv")).starts_with("family,law,x,"));
}

/// Run by hand with the URL of an empty directory and the variables by which the store is found.
#[test]
fn a_real_store_is_read_and_written_as_a_disk_is() {
    let Ok(url) = std::env::var("SWEEPFIT_STORE") else { return };
    let setting = Setting { folder: Folder::new(), url: url.clone(), environment: Vec::new() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let root = Url::parse(&url).expect("a URL");
    let (store, prefix) = parse_url_opts(&root, std::env::vars()).expect("a store");
    let store: Arc<dyn ObjectStore> = Arc::from(store);
    chain(&setting, &|path, content| {
        let key = object_store::path::Path::parse(format!("{prefix}/{path}")).expect("a key");
        runtime.block_on(store.put(&key, content.into())).expect("written");
    });
}

/// A condition on a partition opens the files of that partition alone, and one on a column the row groups that may have it.
#[test]
fn what_a_condition_excludes_is_not_read() {
    let (server, setting) = with_tree();
    server.reads();
    setting.fit(&setting.url("runs"), "out", &["--where", "family = 'llama'"]);
    // The text file is opened to see that it is no Parquet file.
    assert_eq!(server.reads(), ["x/runs/family=llama/part-0.parquet", "x/runs/notes.txt"]);

    // Values that do not repeat, so that a row group has more bytes than are fetched at once.
    let n = 400_000;
    let x: Vec<f64> = (0..n).map(|i| 1.0 + f64::from(i)).collect();
    let y: Vec<f64> = x.iter().map(|x| 2.0 + 3.0 * x + (x * 0.7).sin()).collect();
    let family: Vec<&str> = (0..n).map(|i| if i < 10 { "first" } else { "second" }).collect();
    let columns: [(&str, ArrayRef); 3] = [("family", strings(&family)), ("x", floats(&x)), ("y", floats(&y))];
    setting.folder.write_in_groups("large.parquet", &columns, 50_000);
    let content = fs::read(setting.folder.path("large.parquet")).expect("a file");
    let bytes = content.len();
    server.put("x/large.parquet", content);
    let read = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    server.hook(Box::new(move |method, key, _| {
        if method == "GET" && key == "x/large.parquet" {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        None
    }));
    let few = setting.fit(&setting.url("large.parquet"), "out", &["--where", "x <= 10"]);
    let requests = read.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(few, setting.fit(&setting.folder.path("large.parquet"), "local", &["--where", "x <= 10"]));
    assert!(bytes > 6_000_000 && requests < 8, "{requests} requests for {bytes} bytes");
}

/// Throttling, errors of the server and broken connections pass: the client asks again.
#[test]
fn failures_that_pass_change_nothing() {
    let (server, setting) = with_tree();
    let expected = setting.fit(&setting.folder.path("runs"), "local", &[]);
    for faults in [
        &[Fault::Status(503), Fault::Status(503)][..],
        &[Fault::Status(429)],
        &[Fault::Status(500)],
        &[Fault::Closed],
    ] {
        server.fail(faults);
        assert_eq!(setting.fit(&setting.url("runs"), "remote", &[]), expected, "{faults:?}");
    }
    // Every file is cut off once.
    let mut seen = std::collections::BTreeSet::new();
    server.hook(Box::new(move |method, key, _| {
        (method == "GET" && key.ends_with(".parquet") && seen.insert(key.to_owned())).then_some(Fault::Cut)
    }));
    assert_eq!(setting.fit(&setting.url("runs"), "remote", &[]), expected);
    server.no_hook();
    server.fail(&[Fault::Status(503)]);
    let publish = setting.publish(&setting.url("runs"), &[]);
    assert_eq!(setting.copied(&publish), 0);
}

/// What does not pass is an error that names the object.
#[test]
fn failures_that_stay_are_told() {
    let server = StoreServer::start();
    let setting = Setting::of(&server);
    setting.folder.write("a.parquet", &[&[("family", strings(&["a"; 10]))], &columns(1.0)[..]].concat());
    let whole = fs::read(setting.folder.path("a.parquet")).expect("a file");
    let fit = |path: &str, status| {
        let (url, out) = (setting.url(path), setting.folder.path("out"));
        let message = setting.fail(&[&["fit", &url, "--out", &out, "--quiet"], &LINE[..]].concat(), status);
        assert!(message.contains(&url), "{message}");
        message
    };
    assert!(fit("none.parquet", 2).contains("there is no such file"));
    server.put("x/half.parquet", whole[..whole.len() / 2].to_vec());
    assert!(fit("half.parquet", 2).contains("its end is missing"));
    server.put("x/denied.parquet", whole.clone());
    server.hook(Box::new(|_, key, _| key.ends_with("denied.parquet").then_some(Fault::Status(403))));
    assert!(fit("denied.parquet", 2).contains("privileges"));

    // The object is replaced between the reading of its footer and that of its rows.
    let mut long = Vec::new();
    for (name, values) in [("family", None), ("x", Some(1.0)), ("y", Some(0.3))] {
        let column: ArrayRef = match values {
            None => strings(&vec!["a"; 200_000]),
            Some(step) => floats(&(0..200_000).map(|i| (f64::from(i) * step).sin()).collect::<Vec<_>>()),
        };
        long.push((name, column));
    }
    setting.folder.write("long.parquet", &long);
    let content = fs::read(setting.folder.path("long.parquet")).expect("a file");
    server.put("x/long.parquet", content.clone());
    let mut reads = 0;
    server.hook(Box::new(move |method, key, objects| {
        if method == "GET" && key == "x/long.parquet" {
            reads += 1;
            if reads == 3 {
                objects.insert(key.to_owned(), [&content[..], b"!"].concat());
            }
        }
        None
    }));
    assert!(fit("long.parquet", 1).contains("replaced by another object"));
}

/// Of two runs that began with the same snapshot, the second to end changes nothing, and its fits are copied by the next.
#[test]
fn the_second_of_two_runs_publishes_nothing() {
    let (server, setting) = with_tree();
    let publish = setting.publish(&setting.url("runs"), &["--resume"]);
    assert_eq!(setting.copied(&publish), 0);
    let first = server.object("x/fits/current.json");
    // While a run sends its tables, another one publishes.
    let other = br#"{"snapshot":"snapshots/20200101T000000Z"}"#.to_vec();
    let published = other.clone();
    server.hook(Box::new(move |method, key, objects| {
        if method == "PUT" && key.contains("snapshots/") {
            objects.insert("x/fits/current.json".to_owned(), published.clone());
        }
        None
    }));
    let arguments: Vec<&str> = publish.iter().map(String::as_str).collect();
    let message = setting.fail(&arguments, 1);
    assert!(message.contains("another run has published here since this one began"), "{message}");
    assert_eq!(server.object("x/fits/current.json"), other);
    server.no_hook();
    server.put("x/fits/current.json", first);
    assert_eq!(setting.copied(&publish), 4);
}

/// A run whose tables are not all sent leaves the old snapshot. The next one copies its fits and removes what it had sent.
#[test]
fn a_run_that_dies_while_it_sends_leaves_the_old_snapshot() {
    let (server, setting) = with_tree();
    let publish = setting.publish(&setting.url("runs"), &["--resume"]);
    assert_eq!(setting.copied(&publish), 0);
    let (first, before) = (server.object("x/fits/current.json"), server.keys());
    server.hook(Box::new(|method, key, _| {
        (method == "PUT" && key.ends_with("manifest.json")).then_some(Fault::Status(403))
    }));
    let arguments: Vec<&str> = publish.iter().map(String::as_str).collect();
    setting.fail(&arguments, 1);
    assert_eq!(server.object("x/fits/current.json"), first);
    assert!(server.keys().len() > before.len());
    server.no_hook();
    assert_eq!(setting.copied(&publish), 4);
    // Every object belongs to a snapshot with a manifest.
    let keys = server.keys();
    for key in keys.iter().filter(|key| key.contains("snapshots/")) {
        let manifest = format!("{}/manifest.json", key.rsplit_once('/').expect("a directory").0);
        assert!(keys.contains(&manifest), "{key} of {keys:?}");
    }
}

/// A run removes what was never current, if it is of a run that began before.
#[test]
fn what_was_never_current_is_removed() {
    let (server, setting) = with_tree();
    let publish = setting.publish(&setting.url("runs"), &["--keep", "1"]);
    assert_eq!(setting.copied(&publish), 0);
    let (old, later) =
        ("x/fits/snapshots/20200101T000000Z-000000005", "x/fits/snapshots/29990101T000000Z-000000001");
    for name in ["fits.parquet", "manifest.json"] {
        server.put(&format!("{old}/{name}"), b"of a run that came second".to_vec());
    }
    // A run that begins while this one ends chooses a later name.
    server.hook(Box::new(move |method, key, objects| {
        if method == "PUT" && key == "x/fits/current.json" {
            objects.insert(format!("{later}/fits.parquet"), b"of a run that is sending".to_vec());
        }
        None
    }));
    server.put("x/fits/snapshots/golden/fits.parquet", b"the user's".to_vec());
    let first = server.object("x/fits/current.json");
    assert_eq!(setting.copied(&publish), 0);
    let keys = server.keys();
    let has = |start: &str| keys.iter().any(|key| key.starts_with(start));
    assert!(!has(old) && has("x/fits/snapshots/golden/"), "{keys:?}");
    assert!(has(later), "{keys:?}");
    let named: serde_json::Value = serde_json::from_slice(&first).expect("JSON");
    assert!(
        has(&format!("x/fits/{}/manifest.json", named["snapshot"].as_str().expect("a name"))),
        "{keys:?}"
    );
}

/// A directory of its own takes one result: what a run that died has sent is written over, and a run that is sending is not
/// disturbed.
#[test]
fn a_directory_of_its_own_takes_one_result() {
    let (server, setting) = with_tree();
    let runs = setting.url("runs");
    let new = setting.url("new");
    let arguments = [&["fit", &runs, "--out", &new, "--quiet"], &LINE[..]].concat();
    let message = {
        server.put("x/new/fits.parquet", b"of a user".to_vec());
        setting.fail(&arguments, 2)
    };
    assert!(message.contains("name a new directory"), "{message}");
    // A run that died, longer than an hour ago, had said that it sends.
    server.put("x/new/.sending", b"a run that died".to_vec());
    server.put("x/new/residuals.parquet", b"of a run that died".to_vec());
    server.put("x/new/fits.parquet", b"of a run that died".to_vec());
    server.hook(Box::new(|method, key, objects| {
        if method == "PUT" && key == "x/new/.sending" {
            objects.insert(key.to_owned(), b"another run".to_vec());
        }
        None
    }));
    let message = setting.fail(&arguments, 2);
    assert!(message.contains("another run sends its tables here"), "{message}");
    assert_eq!(server.object("x/new/fits.parquet"), b"of a run that died");
    server.no_hook();
    server.put("x/new/.sending", b"a run that died".to_vec());
    setting.succeed(&arguments);
    let found: Vec<String> = server.keys().into_iter().filter(|key| key.starts_with("x/new/")).collect();
    assert!(
        found.contains(&"x/new/manifest.json".to_owned()) && !found.contains(&"x/new/.sending".to_owned()),
        "{found:?}"
    );
    assert!(server.object("x/new/fits.parquet").starts_with(b"PAR1"));
    assert!(!found.contains(&"x/new/residuals.parquet".to_owned()), "{found:?}");
    let message = setting.fail(&arguments, 2);
    assert!(message.contains("name a new directory"), "{message}");
}

/// Files of a web server are read, and results are not sent there.
#[test]
fn web_servers_are_read() {
    let server = StoreServer::start();
    let setting = Setting::of(&server);
    let csv = "family,x,y\ngpt,1,2\ngpt,2,3.1\ngpt,3,3.9\ngpt,4,5.2\n";
    fs::write(setting.folder.path("rows.csv"), csv).expect("a file");
    server.put("x/rows.csv", csv.into());
    let web = format!("http://127.0.0.1:{}/lake/x", server.port);
    let expected = setting.fit(&setting.folder.path("rows.csv"), "local", &[]);
    assert_eq!(setting.fit(&format!("{web}/rows.csv"), "remote", &[]), expected);
    let message =
        setting.fail(&[&["fit", &setting.url("rows.csv"), "--publish", &web], &LINE[..]].concat(), 2);
    assert!(message.contains("web servers are read alone"), "{message}");
    setting.fit(&setting.folder.path("rows.csv"), "fits", &[]);
    let (fits, answer) = (setting.folder.path("fits"), format!("{web}/answer.csv"));
    let message = setting.fail(&["predict", &fits, "--at", "x=20", "--out", &answer], 2);
    assert!(message.contains("web servers are read alone"), "{message}");
}

#[test]
fn credentials_in_urls_are_refused_and_not_repeated() {
    let setting = Setting::of(&StoreServer::start());
    for url in ["https://me:hunter2@host/a.parquet", "https://host/a.parquet?sig=hunter2"] {
        let out = setting.folder.path("out");
        let message = setting.fail(&[&["fit", url, "--out", &out], &LINE[..]].concat(), 2);
        assert!(message.contains("environment") && !message.contains("hunter2"), "{message}");
    }
}
