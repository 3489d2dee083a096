//! The page: HTML, its style and its scripts, as they are in the binary.

/// A file of the page.
pub(crate) struct Asset {
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: &'static str,
}

pub(crate) const ASSETS: &[Asset] = &[
    asset("/", HTML, include_str!("page/index.html")),
    asset("/style.css", CSS, include_str!("page/style.css")),
    asset("/parts.css", CSS, include_str!("page/parts.css")),
    asset("/main.js", JS, include_str!("page/main.js")),
    asset("/feed.js", JS, include_str!("page/feed.js")),
    asset("/run.js", JS, include_str!("page/run.js")),
    asset("/packet.js", JS, include_str!("page/packet.js")),
    asset("/numbers.js", JS, include_str!("page/numbers.js")),
    asset("/seed.js", JS, include_str!("page/seed.js")),
    asset("/series.js", JS, include_str!("page/series.js")),
    asset("/view.js", JS, include_str!("page/view.js")),
    asset("/svg.js", JS, include_str!("page/svg.js")),
    asset("/loss.js", JS, include_str!("page/loss.js")),
    asset("/lanes.js", JS, include_str!("page/lanes.js")),
    asset("/marks.js", JS, include_str!("page/marks.js")),
    asset("/events.js", JS, include_str!("page/events.js")),
    asset("/panels.js", JS, include_str!("page/panels.js")),
    asset("/words.js", JS, include_str!("page/words.js")),
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

const fn asset(path: &'static str, content_type: &'static str, body: &'static str) -> Asset {
    Asset { path, content_type, body }
}
