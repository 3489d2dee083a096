//! The page: HTML, its style and its scripts, as they are in the binary.

/// A file of the page.
pub(crate) struct Asset {
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($path:literal $content_type:ident $file:literal;)*) => {
        pub(crate) const ASSETS: &[Asset] = &[
            $(Asset { path: $path, content_type: $content_type, body: include_str!(concat!("page/", $file)) }),*
        ];
    };
}

assets! {
    "/" HTML "index.html";
    "/style.css" CSS "style.css";
    "/parts.css" CSS "parts.css";
    "/main.js" JS "main.js";
    "/feed.js" JS "feed.js";
    "/run.js" JS "run.js";
    "/seed.js" JS "seed.js";
    "/series.js" JS "series.js";
    "/view.js" JS "view.js";
    "/svg.js" JS "svg.js";
    "/loss.js" JS "loss.js";
    "/lanes.js" JS "lanes.js";
    "/marks.js" JS "marks.js";
    "/events.js" JS "events.js";
    "/panels.js" JS "panels.js";
    "/words.js" JS "words.js";
}
