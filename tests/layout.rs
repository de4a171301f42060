//! Imports go downward only: among modules in the order below, and within the modules of the core without circles.
//!
//! The test reads the `use` declarations of every file. A declaration that names an item which a folder re-exports counts as an
//! import of the file that defines the item; re-exports themselves, doc comments and unit tests do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Modules, lowest first: each may import those before it.
const ORDER: [&str; 21] = [
    "lanes",
    "linalg",
    "formula",
    "error",
    "store",
    "law",
    "compile",
    "sweep",
    "problem",
    "optimize",
    "infer",
    "input",
    "output",
    "questions",
    "approaches",
    "engine",
    "files",
    "in_memory",
    "coverage",
    "verify",
    "cli",
];

/// Modules whose files import each other without circles.
const WITHOUT_CIRCLES: [&str; 8] =
    ["formula", "law", "compile", "problem", "optimize", "infer", "input", "output"];

type ModulePath = Vec<String>;

struct File {
    module: ModulePath,
    /// The code before the unit tests, without comments.
    code: String,
}

fn read(folder: &Path, module: &[String], into: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut own = module.to_vec();
        if path.is_dir() {
            own.push(stem);
            read(&path, &own, into);
            continue;
        }
        let is_test = stem == "tests" || stem.ends_with("_tests") || stem == "testing";
        if path.extension().is_none_or(|e| e != "rs") || is_test || module.iter().any(|m| m == "tests") {
            continue;
        }
        if stem == "lib" || stem == "main" {
            continue;
        }
        if stem != "mod" {
            own.push(stem);
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]" || !text.contains("mod tests {"));
        let code = lines.filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        into.push(File { module: own, code });
    }
}

/// The paths of a `use` tree: `a::{b, c::{d}}` is `a::b` and `a::c::d`.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        return vec![tree.split(" as ").next().unwrap().trim().to_owned()];
    };
    let (prefix, body) = (&tree[..open], &tree[open + 1..tree.rfind('}').unwrap()]);
    let (mut parts, mut depth, mut part) = (Vec::new(), 0, String::new());
    for c in body.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expand(part)).map(|path| format!("{prefix}{path}")).collect()
}

/// The trees of `use` declarations, and whether each is a re-export.
fn declarations(code: &str) -> Vec<(bool, String)> {
    let statements = code.split(';').filter_map(|statement| {
        let at = statement
            .rfind("use ")
            .filter(|&at| statement[..at].ends_with(|c: char| c.is_whitespace() || c == ')') || at == 0)?;
        let before = statement[..at].lines().last().unwrap_or_default().trim();
        let public = before.starts_with("pub");
        (before.is_empty() || public).then(|| (public, statement[at + 4..].replace('\n', " ")))
    });
    statements.collect()
}

struct Sources {
    files: Vec<File>,
    /// What a module re-exports: where the item is.
    exported: BTreeMap<(ModulePath, String), ModulePath>,
}

impl Sources {
    fn new() -> Sources {
        let mut files = Vec::new();
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &[], &mut files);
        let mut sources = Sources { files, exported: BTreeMap::new() };
        let mut exported = BTreeMap::new();
        for file in &sources.files {
            for (_, tree) in declarations(&file.code).into_iter().filter(|(public, _)| *public) {
                for path in expand(&tree) {
                    let Some(target) = sources.absolute(file, &path) else { continue };
                    let item = target.last().unwrap().clone();
                    exported.insert((file.module.clone(), item), target);
                }
            }
        }
        sources.exported = exported;
        sources
    }

    fn is_module(&self, path: &[String]) -> bool {
        self.files.iter().any(|file| file.module == path)
    }

    /// A path from the crate's root; none for other crates' items.
    fn absolute(&self, file: &File, path: &str) -> Option<ModulePath> {
        let segments: Vec<String> = path.split("::").map(|s| s.trim().to_owned()).collect();
        let ups = segments.iter().take_while(|s| *s == "super").count();
        let base = match segments[0].as_str() {
            "crate" => Vec::new(),
            "self" => file.module.clone(),
            "super" => file.module[..file.module.len() - ups].to_vec(),
            first => {
                let child = [&file.module[..], &[first.to_owned()]].concat();
                return self.is_module(&child).then(|| [&file.module[..], &segments].concat());
            }
        };
        let skipped = ups.max(1);
        Some([&base[..], &segments[skipped..]].concat())
    }

    /// The file that defines what a path names.
    fn home(&self, path: &[String]) -> Option<ModulePath> {
        let length = (1..=path.len()).rev().find(|&n| self.is_module(&path[..n]))?;
        let module = path[..length].to_vec();
        let Some(item) = path.get(length) else { return Some(module) };
        match self.exported.get(&(module.clone(), item.clone())) {
            Some(target) if target.as_slice() != path => self.home(target),
            _ => Some(module),
        }
    }

    /// Which file imports which.
    fn imports(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for file in &self.files {
            let own = imports.entry(file.module.join("::")).or_default();
            for (_, tree) in declarations(&file.code).into_iter().filter(|(public, _)| !public) {
                for path in expand(&tree) {
                    let home = self.absolute(file, &path).and_then(|path| self.home(&path));
                    own.extend(home.filter(|home| *home != file.module).map(|home| home.join("::")));
                }
            }
        }
        imports
    }
}

fn top(module: &str) -> &str {
    module.split("::").next().unwrap()
}

#[test]
fn imports_go_downward() {
    let imports = Sources::new().imports();
    let place = |module: &str| ORDER.iter().position(|name| *name == top(module));
    let mut across = 0;
    for (module, imported) in &imports {
        let Some(own) = place(module) else { panic!("src/{module} has no place in the order") };
        for other in imported {
            across += usize::from(top(module) != top(other));
            assert!(place(other) <= Some(own), "{module} imports {other}, which stands above it");
        }
    }
    assert!(across > 200, "only {across} imports were found: the test does not read them");
}

#[test]
fn files_of_the_core_import_without_circles() {
    let mut imports = Sources::new().imports();
    imports.retain(|module, _| WITHOUT_CIRCLES.contains(&top(module)));
    let all: BTreeSet<String> = imports.keys().cloned().collect();
    imports.values_mut().for_each(|imported| imported.retain(|other| all.contains(other)));
    // Files that import none of those left are taken away, until none is left or those left go round in a circle.
    while !imports.is_empty() {
        let free: Vec<String> =
            imports.iter().filter(|(_, imported)| imported.is_empty()).map(|(m, _)| m.clone()).collect();
        assert!(!free.is_empty(), "these import each other in a circle: {imports:#?}");
        for module in free {
            imports.remove(&module);
            imports.values_mut().for_each(|imported| {
                imported.remove(&module);
            });
        }
    }
}

/// The standard library's elementary functions depend on the platform's library. Numbers come from those of
/// `lanes::scalar` and of the crate `libm`, so that a result has the same bits on every machine.
#[test]
fn numbers_come_from_functions_that_are_the_same_everywhere() {
    const PLATFORM: [&str; 20] = [
        "exp", "ln", "exp_m1", "ln_1p", "log2", "log10", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh",
        "cbrt", "powf", "log", "asinh", "acosh", "atan2", "exp2",
    ];
    let sources = Sources::new();
    let numeric = [
        "problem",
        "compile",
        "law",
        "linalg",
        "optimize",
        "infer",
        "engine",
        "input",
        "output",
        "questions",
        "approaches",
        "coverage",
    ];
    let mut read = 0;
    for file in sources.files.iter().filter(|file| numeric.contains(&file.module[0].as_str())) {
        read += 1;
        for name in PLATFORM {
            let call = if ["powf", "log", "atan2"].contains(&name) {
                format!(".{name}(")
            } else {
                format!(".{name}()")
            };
            assert!(!file.code.contains(&call), "{:?} calls `f64{call}`", file.module);
        }
    }
    assert!(read > 100, "only {read} files were read");
}
