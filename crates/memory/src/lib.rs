//! A cache with a byte budget, and a governor of everything that holds memory.
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
//!
//! A [`Governor`] looks at several [pools](Pool) together. It says when to start nothing that needs memory (conservative mode, with
//! hysteresis) and when to purge, frees what has expired and counts it, and promises memory before it is taken
//! ([`reserve`](Governor::reserve)).
//!
//! ```
//! use std::time::Duration;
//!
//! use kasmina_leyline::Monotonic;
//! use kasmina_memory::{Cache, CacheLimits, Evict, Governor, GovernorLimits, Holding, PerPool, Pool};
//!
//! let mut kernels = Cache::new(CacheLimits { bytes: 100, ttl: Duration::from_secs(60) });
//! kernels.insert("conv", (), 60, Monotonic::ORIGIN)?;
//! let mut governor = Governor::new(GovernorLimits { total_bytes: 100, pools: PerPool::new(|_| 50), ..Default::default() });
//! let held = PerPool::new(|pool| if pool == Pool::Kernels { kernels.holding() } else { Holding::default() });
//! assert!(!governor.assess(&held, None).conserving);
//!
//! let teacher = governor.reserve(Pool::Teacher, 35)?; // 95 of 100 bytes
//! assert!(governor.reserve(Pool::Teacher, 20).is_err());
//! assert!(governor.assess(&held, None).conserving);
//! teacher.release();
//! assert!(!governor.assess(&held, None).conserving);
//!
//! let later = Monotonic::ORIGIN.after(Duration::from_secs(60));
//! let freed = governor.collect(&mut [(Pool::Kernels, &mut kernels)], later);
//! assert_eq!(freed[Pool::Kernels].bytes, 60);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cache;
mod governor;
mod pool;
mod probe;
mod reservation;
mod stats;

pub use cache::{Cache, CacheLimits, TooLarge};
pub use governor::{Assessment, FreedTotals, Governor, GovernorLimits};
pub use pool::{Evict, Freed, Holding, PerPool, Pool};
pub use probe::{NoProbe, ResidentProbe};
pub use reservation::{Budget, OverBudget, Reservation};
pub use stats::{CacheStats, Counts, Evicted};
