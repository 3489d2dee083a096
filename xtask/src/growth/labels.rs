//! Where labels of marks stand, so that none is on another label or on a mark.

/// An area of the picture. `y` goes down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// A mark that is to have a label.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labelled {
    pub(super) mark: (f64, f64),
    /// The bars of its deviations, or lines as good as them.
    pub(super) bars: [Area; 2],
    /// How wide its label is.
    pub(super) width: f64,
}

/// Half of the height of a label, and half of a mark.
const HALF: f64 = 8.0;
/// From the middle of a mark to a label, across and up or down.
const BESIDE: f64 = 14.0;
const ABOVE: f64 = 16.0;
/// Places above a mark and below it that are tried, from near to far.
const TRIED: u32 = 6;

impl Area {
    /// Around a middle.
    pub(super) const fn around((x, y): (f64, f64), wide: f64, high: f64) -> Self {
        Self { left: x - wide, right: x + wide, top: y - high, bottom: y + high }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }

    fn contains(&self, other: &Self) -> bool {
        self.left <= other.left && other.right <= self.right && self.top <= other.top && other.bottom <= self.bottom
    }
}

/// One area for each label, within `room` if it can be. The first marks have the first choice.
pub(super) fn place(marks: &[Labelled], room: &Area) -> Vec<Area> {
    let mut placed: Vec<Area> = Vec::with_capacity(marks.len());
    for (index, mark) in marks.iter().enumerate() {
        let cost = |area: &Area, far: u32| {
            let labels = placed.iter().filter(|other| other.overlaps(area)).count();
            let covered = marks.iter().filter(|it| Area::around(it.mark, HALF, HALF).overlaps(area)).count();
            let others = marks.iter().enumerate().filter(|(other, _)| *other != index);
            let crossed = others.flat_map(|(_, it)| it.bars).filter(|bar| bar.overlaps(area)).count();
            let outside = usize::from(!room.contains(area));
            (outside + labels + covered, 3 * crossed + far as usize)
        };
        let best = candidates(mark, room).min_by_key(|(area, far)| cost(area, *far));
        placed.extend(best.map(|(area, _)| area));
    }
    placed
}

/// Places for a label, and how far each of them is from the one that is best where nothing else is.
fn candidates(mark: &Labelled, room: &Area) -> impl Iterator<Item = (Area, u32)> {
    let Labelled { mark: (x, y), width, .. } = *mark;
    let leftwards = x > f64::midpoint(room.left, room.right);
    (0..TRIED).flat_map(move |step| {
        [(leftwards, -1.0), (leftwards, 1.0), (!leftwards, -1.0), (!leftwards, 1.0)].into_iter().zip(0..).map(
            move |((leftwards, up), order)| {
                let left = if leftwards { x - BESIDE - width } else { x + BESIDE };
                let at = y + up * (ABOVE + f64::from(step) * HALF);
                (Area { left, right: left + width, top: at - HALF, bottom: at + HALF }, 4 * step + order)
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Area = Area { left: 0.0, right: 600.0, top: 0.0, bottom: 600.0 };

    fn mark(x: f64, y: f64) -> Labelled {
        let bars = [Area::around((x, y), 200.0, 1.0), Area::around((x, y), 1.0, 200.0)];
        Labelled { mark: (x, y), bars, width: 100.0 }
    }

    fn nothing_overlaps(marks: &[Labelled]) {
        let areas = place(marks, &ROOM);
        assert_eq!(areas.len(), marks.len());
        for (index, area) in areas.iter().enumerate() {
            assert!(ROOM.contains(area), "{area:?}");
            assert!(areas.iter().skip(index + 1).all(|other| !other.overlaps(area)), "{areas:?}");
            assert!(marks.iter().all(|it| !Area::around(it.mark, HALF, HALF).overlaps(area)), "{areas:?}");
        }
    }

    #[test]
    fn labels_far_apart_at_one_height_stay_at_their_marks() {
        let bars = [Area::around((0.0, 0.0), 0.0, 0.0); 2];
        let marks = [80.0, 400.0].map(|x| Labelled { bars, ..mark(x, 300.0) });
        let areas = place(&marks, &ROOM);
        assert_eq!((areas[0].left, areas[0].bottom), (80.0 + BESIDE, 300.0 - ABOVE + HALF));
        assert_eq!((areas[1].right, areas[1].bottom), (400.0 - BESIDE, 300.0 - ABOVE + HALF));
    }

    #[test]
    fn labels_of_equal_marks_stand_apart() {
        nothing_overlaps(&[mark(300.0, 300.0); 4]);
    }

    #[test]
    fn labels_near_each_other_or_an_edge_do_not_overlap() {
        nothing_overlaps(&[mark(60.0, 250.0), mark(290.0, 280.0), mark(291.0, 260.0), mark(292.0, 350.0)]);
        nothing_overlaps(&[mark(5.0, 5.0), mark(9.0, 590.0), mark(595.0, 8.0), mark(590.0, 595.0)]);
    }

    #[test]
    fn a_label_keeps_off_the_bars_of_others_if_it_can() {
        let marks = [mark(300.0, 300.0), mark(300.0, 330.0)];
        let areas = place(&marks, &ROOM);
        assert!(marks[0].bars.iter().all(|bar| !bar.overlaps(&areas[1])), "{areas:?}");
        assert!(marks[1].bars.iter().all(|bar| !bar.overlaps(&areas[0])), "{areas:?}");
    }
}
