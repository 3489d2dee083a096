//! A headless Chromium, driven over the pipe of its DevTools protocol: no port, no driver program, no WebSocket.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Names of the program, the usual one first.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// If this is set, a missing browser fails the test instead of skipping it.
const REQUIRED: &str = "KASMINA_REQUIRES_CHROMIUM";
/// How long the browser may take for anything. Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one page. Dropping it kills it and removes its profile.
pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    session: String,
    number: u64,
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Opens `url`. If there is no browser on this machine, it says so and returns `None`: skip the test. With the variable
    /// `KASMINA_REQUIRES_CHROMIUM` in the environment, it panics instead.
    pub(crate) fn open(url: &str) -> Option<Self> {
        let is_there = |name: &&&str| {
            Command::new(name).arg("--version").stderr(Stdio::null()).stdout(Stdio::null()).status().is_ok()
        };
        let Some(program) = PROGRAMS.iter().find(is_there) else {
            assert!(std::env::var_os(REQUIRED).is_none(), "chromium is not installed, and {REQUIRED} is set");
            // `cargo xtask test` lists such lines.
            println!("SKIPPED: {}: chromium is not installed", thread::current().name().unwrap_or("a test"));
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        // The protocol is spoken on the descriptors 3 and 4.
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 1>&2"#, program])
            .args(["--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--window-size=1400,1600"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (to, out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, from) = mpsc::channel();
        thread::spawn(move || {
            let mut out = BufReader::new(out);
            let mut message = Vec::new();
            while out.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                if serde_json::from_slice(&message).is_ok_and(|message| sender.send(message).is_err()) {
                    return;
                }
                message.clear();
            }
        });
        let (session, complaints) = (String::new(), Vec::new());
        let mut browser = Self { child, to, from, session, number: 0, complaints, _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            browser.call(domain, json!({}));
        }
        browser.call("Page.navigate", json!({ "url": url }));
        browser.until("document.body?.dataset.packets !== undefined");
        Some(browser)
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let call = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", call);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// The text of the first element that a selector finds.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let value = self.value(&format!("document.querySelector({selector:?})?.textContent"));
        value.as_str().unwrap_or_else(|| panic!("nothing is {selector}")).to_owned()
    }

    /// Waits until an expression in the page is true.
    pub(crate) fn until(&mut self, condition: &str) {
        let look = format!(
            "new Promise((done) => {{ const until = Date.now() + 60000; const look = () => {{ let is = false; try {{ is = {condition}; }} \
             catch {{}} if (is) done(true); else if (Date.now() > until) done(false); else setTimeout(look, 20); }}; look(); }})"
        );
        if self.value(&look) != true {
            let page = self.value("document.body?.innerText");
            panic!("never true: {condition}\n{}\n{:?}", page.as_str().unwrap_or_default(), self.complaints);
        }
    }

    /// Waits until the first element that a selector finds has a text.
    pub(crate) fn until_text(&mut self, selector: &str, text: &str) {
        self.until(&format!("document.querySelector({selector:?}).textContent.includes({text:?})"));
    }

    /// Makes the page so many pixels wide.
    pub(crate) fn widen(&mut self, width: u32) {
        let size = json!({ "width": width, "height": 1600, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
        self.until(&format!("innerWidth === {width}"));
    }

    /// Presses a key and lets it go: `"ArrowRight"`, `"Tab"`, `"n"`.
    pub(crate) fn press(&mut self, key: &str) {
        let mut event = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code(key) });
        if key.chars().count() == 1 || key == "Enter" {
            event["text"] = json!(if key == "Enter" { "\r" } else { key });
        }
        self.call("Input.dispatchKeyEvent", event);
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code(key) }));
    }

    /// What the page has complained of: exceptions, errors and warnings in the console, and what its policy forbade. Failed requests
    /// only if `with_requests`.
    pub(crate) fn complaints(&mut self, with_requests: bool) -> Vec<String> {
        // Every earlier event has come before this answer.
        self.value("0");
        self.complaints.iter().filter(|it| with_requests || !it.starts_with("network")).cloned().collect()
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let Ok(answer) = self.from.recv_timeout(PATIENCE) else { panic!("the browser does not answer {method}") };
            if answer["id"] == self.number {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.complaints.extend(complaint(&answer));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn complaint(event: &Value) -> Option<String> {
    let about = &event["params"];
    let mut text = String::new();
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => write!(text, "exception {}", about["exceptionDetails"]).unwrap(),
        "Runtime.consoleAPICalled" if about["type"] == "error" || about["type"] == "warning" => {
            write!(text, "console {}", about["args"]).unwrap();
        }
        "Log.entryAdded" if about["entry"]["level"] == "error" || about["entry"]["level"] == "warning" => {
            let source = about["entry"]["source"].as_str().unwrap_or_default();
            write!(text, "{source} {}", about["entry"]["text"]).unwrap();
        }
        _other => return None,
    }
    Some(text)
}

/// What Windows calls the key, which Chromium goes by everywhere.
fn code(key: &str) -> u32 {
    match key {
        "Tab" => 9,
        "Enter" => 13,
        "Escape" => 27,
        "End" => 35,
        "Home" => 36,
        "ArrowLeft" => 37,
        "ArrowUp" => 38,
        "ArrowRight" => 39,
        "ArrowDown" => 40,
        other => other.chars().next().map_or(0, |letter| letter.to_ascii_uppercase().into()),
    }
}
