package event

// Unix times are accepted between these bounds (1973 to 5138), so that seconds,
// microseconds and nanoseconds of our days can't be taken for milliseconds.
const (
	minUnixMilli = 1e11
	maxUnixMilli = 1e14
)

// The first and the last millisecond that RFC 3339 can write.
const (
	minTime = -62135596800_000 // 0001-01-01T00:00:00Z
	maxTime = 253402300799_999 // 9999-12-31T23:59:59.999Z
)

const msPerDay = 24 * 60 * 60 * 1000

// parseTime reads a time of RFC 3339 and floors it to Unix milliseconds. T and Z
// may be lower-case, as RFC 3339 allows. A leap second, which Unix time doesn't
// have, is the last millisecond before it ends.
func parseTime(b []byte) (ms int64, ok bool) {
	if len(b) < len("2006-01-02T15:04:05Z") || b[4] != '-' || b[7] != '-' || b[10]|0x20 != 't' || b[13] != ':' || b[16] != ':' {
		return 0, false
	}
	century, bad0 := twoDigits(b[0], b[1])
	year, bad1 := twoDigits(b[2], b[3])
	month, bad2 := twoDigits(b[5], b[6])
	day, bad3 := twoDigits(b[8], b[9])
	hour, bad4 := twoDigits(b[11], b[12])
	minute, bad5 := twoDigits(b[14], b[15])
	second, bad6 := twoDigits(b[17], b[18])
	year += 100 * century
	if bad0 || bad1 || bad2 || bad3 || bad4 || bad5 || bad6 ||
		month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 60 {
		return 0, false
	}
	leap := second == 60
	if leap {
		second = 59
	}
	ms = int64(daysSince1970(year, month, day))*msPerDay + int64((hour*60+minute)*60+second)*1000
	i := len("2006-01-02T15:04:05")
	if b[i] == '.' {
		n := digitsLen(b[i+1:])
		if n == 0 {
			return 0, false
		}
		for k, unit := 0, int64(100); k < min(n, 3); k, unit = k+1, unit/10 {
			ms += int64(b[i+1+k]-'0') * unit
		}
		i += 1 + n
	}
	offset, ok := parseZone(b[i:])
	if !ok {
		return 0, false
	}
	ms -= offset
	if leap {
		// Leap seconds end a UTC day.
		ms -= (ms%1000 + 1000) % 1000 // down, before 1970 too
		if (ms+1000)%msPerDay != 0 {
			return 0, false
		}
		ms += 999
	}
	return ms, ms >= minTime && ms <= maxTime
}

// parseZone reads Z or ±hh:mm, and returns its milliseconds east of UTC.
func parseZone(b []byte) (ms int64, ok bool) {
	if len(b) == 1 && b[0]|0x20 == 'z' {
		return 0, true
	}
	if len(b) != len("+00:00") || b[0] != '+' && b[0] != '-' || b[3] != ':' {
		return 0, false
	}
	hour, bad0 := twoDigits(b[1], b[2])
	minute, bad1 := twoDigits(b[4], b[5])
	if bad0 || bad1 || hour > 23 || minute > 59 {
		return 0, false
	}
	ms = int64(hour*60+minute) * 60_000
	if b[0] == '-' {
		ms = -ms
	}
	return ms, true
}

func twoDigits(a, b byte) (n int, bad bool) {
	a, b = a-'0', b-'0'
	return int(a)*10 + int(b), a > 9 || b > 9
}

func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// daysSince1970 counts days of the Gregorian calendar, in years that begin in
// March, so that the leap day comes last.
func daysSince1970(year, month, day int) int {
	if month <= 2 {
		year--
		month += 12
	}
	year += 400 // not negative, for the divisions
	return year*365 + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1 - 719468 - 146097
}

// AppendTime writes Unix milliseconds as 2006-01-02T15:04:05.000Z. Only the
// years 1 to 9999 have such a form: earlier and later times are written as the
// first and the last of them.
func AppendTime(dst []byte, ms int64) []byte {
	// As milliseconds since 0000-03-01, so that nothing is negative.
	t := uint64(min(max(ms, minTime), maxTime) + 719468*msPerDay)
	year, month, day := date(t / msPerDay)
	clock := t % msPerDay
	dst = append(dst, '0'+byte(year/1000), '0'+byte(year/100%10), '0'+byte(year/10%10), '0'+byte(year%10), '-')
	dst = append(appendTwo(dst, month), '-')
	dst = append(appendTwo(dst, day), 'T')
	dst = append(appendTwo(dst, clock/3600_000), ':')
	dst = append(appendTwo(dst, clock/60_000%60), ':')
	dst = append(appendTwo(dst, clock/1000%60), '.')
	return append(dst, '0'+byte(clock/100%10), '0'+byte(clock/10%10), '0'+byte(clock%10), 'Z')
}

func appendTwo(dst []byte, n uint64) []byte { return append(dst, '0'+byte(n/10), '0'+byte(n%10)) }

// date is the day of the Gregorian calendar that is so many days after
// 0000-03-01.
func date(days uint64) (year, month, day uint64) {
	const daysIn400 = 146097
	era, n := days/daysIn400, days%daysIn400
	yearOfEra := (n - n/1460 + n/36524 - n/(daysIn400-1)) / 365
	n -= 365*yearOfEra + yearOfEra/4 - yearOfEra/100 // day of the year that begins in March
	m := (5*n + 2) / 153                             // month of it, from 0
	day = n - (153*m+2)/5 + 1
	year, month = yearOfEra+era*400, m+3
	if month > 12 {
		year, month = year+1, month-12
	}
	return year, month, day
}
