//! A small server that speaks enough of the protocol of S3 for the tests, and fails as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use sha2::{Digest, Sha256};

/// What a request gets in place of its answer.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// A status with an error of the server's.
    Status(u16),
    /// Half of the body, and then the end of the connection.
    Cut,
    /// No answer.
    Closed,
}

/// Called before a request is answered, with its method and key.
pub type Hook = Box<dyn FnMut(&str, &str, &mut BTreeMap<String, Vec<u8>>) -> Option<Fault> + Send>;

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    /// The methods and keys of all requests.
    log: Vec<(String, String)>,
    faults: VecDeque<Fault>,
    hook: Option<Hook>,
}

/// The server, with one bucket `lake`. It ends with the test program.
pub struct StoreServer {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl StoreServer {
    pub fn start() -> StoreServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A connection that the client ends is no failure of the test.
                thread::spawn(move || answer(&connection, &state));
            }
        });
        StoreServer { port, state }
    }

    fn with<T>(&self, then: impl FnOnce(&mut State) -> T) -> T {
        then(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the variables of the environment by which a program finds the server.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "eu-west-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "a-key-of-the-tests".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-tests".to_owned()),
        ]
    }

    pub fn put(&self, key: &str, content: Vec<u8>) {
        self.with(|state| state.objects.insert(key.to_owned(), content));
    }

    pub fn keys(&self) -> Vec<String> {
        self.with(|state| state.objects.keys().cloned().collect())
    }

    pub fn object(&self, key: &str) -> Vec<u8> {
        self.with(|state| state.objects.get(key).cloned()).expect("an object")
    }

    pub fn remove(&self, key: &str) {
        self.with(|state| state.objects.remove(key));
    }

    /// The next requests get these in place of their answers.
    pub fn fail(&self, faults: &[Fault]) {
        self.with(|state| state.faults.extend(faults));
    }

    pub fn hook(&self, hook: Hook) {
        self.with(|state| state.hook = Some(hook));
    }

    pub fn no_hook(&self) {
        self.with(|state| state.hook = None);
    }

    /// Returns the keys that were read since the last call, each once.
    pub fn reads(&self) -> Vec<String> {
        let log = self.with(|state| std::mem::take(&mut state.log));
        let mut keys: Vec<String> = log
            .into_iter()
            .filter(|(method, key)| method == "GET" && !key.is_empty())
            .map(|(_, key)| key)
            .collect();
        keys.sort();
        keys.dedup();
        keys
    }
}

struct Request {
    method: String,
    key: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn read(stream: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let key = decoded(path.strip_prefix("/lake")?.trim_start_matches('/'));
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), decoded(&value.replace('+', " ")))
    };
    let query = query.split('&').filter(|text| !text.is_empty()).map(pair).collect();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Request { method, key, query, headers, body })
}

fn etag(content: &[u8]) -> String {
    let hash: String = Sha256::digest(content).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hash}\"")
}

/// An answer: the status, headers and body.
struct Answer(u16, Vec<(&'static str, String)>, Vec<u8>);

fn error(status: u16) -> Answer {
    let body = format!(
        "<Error><Code>Fault{status}</Code><Message>as the test asks</Message><Token-0>a-secret-of-the-tests</Token-0></Error>"
    );
    Answer(status, Vec::new(), body.into_bytes())
}

fn answer(connection: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut stream = BufReader::new(connection);
    while let Some(request) = read(&mut stream) {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.log.push((request.method.clone(), request.key.clone()));
        let State { hook, objects, .. } = &mut *state;
        let asked = hook.as_mut().and_then(|hook| hook(&request.method, &request.key, objects));
        let fault = asked.or_else(|| state.faults.pop_front());
        let Answer(status, headers, body) = match fault {
            Some(Fault::Status(status)) => error(status),
            Some(Fault::Closed) => return None,
            Some(Fault::Cut) | None => respond(&mut state, &request),
        };
        drop(state);
        let mut head = format!("HTTP/1.1 {status} Status\r\n");
        for (name, value) in &headers {
            head += &format!("{name}: {value}\r\n");
        }
        if headers.iter().all(|(name, _)| *name != "Content-Length") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut out = connection;
        out.write_all(format!("{head}\r\n").as_bytes()).ok()?;
        if matches!(fault, Some(Fault::Cut)) {
            out.write_all(&body[..body.len() / 2]).ok()?;
            return None;
        }
        if request.method != "HEAD" {
            out.write_all(&body).ok()?;
        }
    }
    None
}

fn respond(state: &mut State, request: &Request) -> Answer {
    let Request { method, key, query, headers, body } = request;
    if headers.contains_key("x-amz-security-token") {
        // Nothing of that name was meant for a store.
        return error(403);
    }
    let present = state.objects.get(key);
    let matches_tag = |tag: &String| present.is_some_and(|content| etag(content) == *tag);
    if headers.get("if-match").is_some_and(|tag| !matches_tag(tag))
        || headers.get("if-none-match").is_some_and(|tag| tag == "*" && present.is_some())
    {
        return error(412);
    }
    let described = |content: &[u8]| {
        vec![("ETag", etag(content)), ("Last-Modified", "Sat, 01 Feb 2025 02:30:00 GMT".to_owned())]
    };
    match method.as_str() {
        "GET" if key.is_empty() => list(state, query),
        "POST" if query.contains_key("delete") => {
            let text = String::from_utf8_lossy(body);
            let keys: Vec<String> = text
                .split("<Key>")
                .skip(1)
                .filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned()))
                .collect();
            keys.iter().for_each(|key| drop(state.objects.remove(key)));
            let deleted = keys.iter().map(|key| format!("<Deleted><Key>{key}</Key></Deleted>"));
            let text = format!("<DeleteResult>{}</DeleteResult>", deleted.collect::<String>());
            Answer(200, Vec::new(), text.into_bytes())
        }
        "POST" if query.contains_key("uploads") => {
            let id = format!("upload-{}", state.uploads.len());
            state.uploads.insert(id.clone(), BTreeMap::new());
            let text = format!(
                "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            );
            Answer(200, Vec::new(), text.into_bytes())
        }
        "POST" => {
            let parts =
                query.get("uploadId").and_then(|id| state.uploads.get(id)).cloned().unwrap_or_default();
            let content: Vec<u8> = parts.into_values().flatten().collect();
            let tag = etag(&content);
            state.objects.insert(key.clone(), content);
            let text =
                format!("<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>");
            Answer(200, Vec::new(), text.into_bytes())
        }
        "PUT" => {
            let tag = etag(body);
            match query.get("uploadId").and_then(|id| state.uploads.get_mut(id)) {
                Some(upload) => {
                    let number = query.get("partNumber").and_then(|number| number.parse().ok()).unwrap_or(0);
                    upload.insert(number, body.clone());
                }
                None => {
                    state.objects.insert(key.clone(), body.clone());
                }
            }
            Answer(200, vec![("ETag", tag)], Vec::new())
        }
        "DELETE" => {
            state.objects.remove(key);
            Answer(204, Vec::new(), Vec::new())
        }
        "HEAD" | "GET" => {
            let Some(content) = present else { return error(404) };
            let mut headers_out = described(content);
            if method == "HEAD" {
                headers_out.push(("Content-Length", content.len().to_string()));
                return Answer(200, headers_out, Vec::new());
            }
            let range = headers.get("range").and_then(|range| {
                let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
                Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
            });
            match range {
                Some((first, _)) if first >= content.len() => error(416),
                Some((first, last)) => {
                    let end = (last + 1).min(content.len());
                    let value = format!("bytes {first}-{}/{}", end - 1, content.len());
                    headers_out.push(("Content-Range", value));
                    Answer(206, headers_out, content[first..end].to_vec())
                }
                None => Answer(200, headers_out, content.clone()),
            }
        }
        _ => error(405),
    }
}

fn list(state: &State, query: &BTreeMap<String, String>) -> Answer {
    let prefix = query.get("prefix").cloned().unwrap_or_default();
    let after = query.get("continuation-token").cloned().unwrap_or_default();
    // Pages of three, so that lists have several.
    let found: Vec<(&String, &Vec<u8>)> =
        state.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after).collect();
    let mut text = String::from("<ListBucketResult>");
    for (key, content) in found.iter().take(3) {
        let escaped = key.replace('&', "&amp;").replace('<', "&lt;");
        text += &format!(
            "<Contents><Key>{escaped}</Key><LastModified>2025-02-01T02:30:00.000Z</LastModified><ETag>{}</ETag>\
             <Size>{}</Size></Contents>",
            etag(content).replace('"', "&quot;"),
            content.len()
        );
    }
    if found.len() > 3 {
        text += &format!(
            "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>",
            found[2].0
        );
    }
    text += "</ListBucketResult>";
    Answer(200, Vec::new(), text.into_bytes())
}
