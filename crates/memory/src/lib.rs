//! A cache with a time to live, least-recently-used eviction and a byte budget, which counts what it evicts.
//!
//! [`Cache`] holds no clock and starts no thread: `now` is an argument, and the owner calls [`collect`](Cache::collect) at a
//! convenient time, for example at the end of an epoch.
//!
//! ```
//! use std::time::Duration;
//!
//! use kasmina_leyline::Monotonic;
//! use kasmina_memory::{Cache, CacheLimits};
//!
//! let mut kernels = Cache::new(CacheLimits { bytes: 100, ttl: Duration::from_secs(60) });
//! let now = Monotonic::ORIGIN;
//! kernels.insert("conv", vec![0_u8; 60], 60, now)?;
//! kernels.insert("norm", vec![0_u8; 50], 50, now)?; // 110 bytes: the least recently used goes
//! assert!(kernels.get("conv", now).is_none());
//! assert!(kernels.get("norm", now).is_some());
//!
//! let evicted = kernels.collect(now.after(Duration::from_secs(61)));
//! assert_eq!((evicted.expired, evicted.bytes), (1, 50));
//! assert_eq!(kernels.stats().total.misses, 1);
//! # Ok::<(), kasmina_memory::TooLarge>(())
//! ```

mod cache;
mod stats;

pub use cache::{Cache, CacheLimits, TooLarge};
pub use stats::{CacheStats, Counts, Evicted};
