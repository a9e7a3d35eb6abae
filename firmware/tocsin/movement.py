# sans-I/O
# hwsim: no-float
"""Compare two fixes: has the wearer moved, and can it be true?

Pure, in integers. Neither answer keeps a position from being sent: one says how often, the other goes with it.
"""

_APART_M = 50  # a smaller distance may be noise of fixes in a town's streets; more noise would hide a movement
_FRESH_S = 60  # an older fix says nothing of now
_RIDE = 3  # m/s: faster than a walk; a receiver at rest shows less
# An airliner over ground, with 830 km/h of its own and the strongest jet stream: 1327 km/h or 369 m/s (British Airways
# 112 on 2020-02-09, by Flightradar24). No person is faster.
_FASTEST = 400
_ROAD = 50  # m/s: 180 km/h
_CLOCK_S = 60  # so far, and a sixteenth, the receiver's time and ours may differ: ours, asleep, is some per cent wrong
_DOUBT_S = 3600
_DAY = 86400


def farther(lat, lon, lat2, lon2, metres):
    """Tell whether two positions (degrees * 10^7) are more than so many metres apart. On a plane, with the Earth's
    radius at the equator (WGS 84) and Bhaskara's cosine: good to 2 % for some 100 km, beyond that rather too far."""
    north = (lat - lat2) * 10 // 898
    tenths = (lat + lat2) // 2000000  # of a degree
    square = tenths * tenths
    east = (lon - lon2 + 1800000000) % 3600000000 - 1800000000
    east = east * 10 // 898 * (3240000 - 4 * square) // (3240000 + square)
    return north * north + east * east > metres * metres


def moved(told, fix):
    """Tell whether she has moved since the place was told, both as Gnss.fix() returns them; None: nobody can say.
    Accuracies are 1 sigma each, so twice their sum is left to chance."""
    if told is None or fix is None:
        return None
    noise = told[2] + fix[2]
    if farther(told[0], told[1], fix[0], fix[1], max(_APART_M, 2 * noise)):
        return True
    if fix[3] > _FRESH_S or noise > _APART_M:
        return None
    return fix[5] is not None and fix[5] >= _RIDE


def doubt(sure, last, fix):
    """Return for how many seconds from `fix` on positions are doubtful; 0: not at all. `last` is the fix before it,
    `sure` the last without doubt (often the same): nmea.Fix, each with its time by the receiver and by us, and its own
    doubt.

    After a jump nobody can tell which side of it is true. So doubt stays for an hour, unless a jump leads back to where
    the last sure place would allow by road."""
    if _leapt(last, fix, _FASTEST):
        return _DOUBT_S if sure is last or _leapt(sure, fix, _ROAD) else 0
    return max(last.doubt - (fix.at - last.at) // 1000, 0)


def _leapt(one, two, speed):
    """Tell whether the receiver's clock has jumped from one fix to the other, or the position has moved faster than
    `speed`, with twice both accuracies taken off."""
    ours = (two.at - one.at) // 1000
    theirs = two.time - one.time
    if min(one.time, two.time) < _DAY:  # without a date the receiver's time is no evidence
        theirs = ours
    if abs(theirs - ours) > _CLOCK_S + ours // 16:
        return True
    reach = speed * max(theirs, 1) + 2 * (one.accuracy + two.accuracy)
    return farther(one.lat, one.lon, two.lat, two.lon, reach)
