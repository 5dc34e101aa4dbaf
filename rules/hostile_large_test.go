package rules

import (
	"fmt"
	"strings"
	"testing/fstest"
)

// largeRules are the hostile rules that are too large to write down.
func largeRules() []hostile {
	var all []hostile
	condition := func(name, when string) { all = append(all, hostile{name: "large: " + name, when: when}) }
	folder := func(name, content string) {
		all = append(all, hostile{name: "large: " + name, files: fstest.MapFS{"rules.yaml": {Data: []byte(content)}}})
	}
	rule := "rules: [{id: r, action: review, when: amount > 5}]\n"
	nest := func(open, middle, end string, n int) string {
		return strings.Repeat(open, n) + middle + strings.Repeat(end, n)
	}
	join := func(n int, sep string, f func(i int) string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = f(i)
		}
		return strings.Join(parts, sep)
	}
	same := func(s string) func(int) string { return func(int) string { return s } }

	for _, n := range []int{100, 1000, 8000, 100_000} {
		condition(fmt.Sprintf("%d brackets", n), nest("(", "amount > 5", ")", n))
		condition(fmt.Sprintf("%d brackets that don't close", n), strings.Repeat("(", n))
		condition(fmt.Sprintf("%d lists", n), nest("[", "", "]", n)+" == 1")
		condition(fmt.Sprintf("%d maps", n), nest("{a: ", "1", "}", n)+" == 1")
		condition(fmt.Sprintf("%d times not", n), strings.Repeat("not ", n)+"mfa")
		condition(fmt.Sprintf("%d minuses", n), strings.Repeat("-", n)+"amount < 5")
		condition(fmt.Sprintf("%d conditionals", n), strings.Repeat("mfa ? true : ", n)+"false")
		condition(fmt.Sprintf("%d members", n), "original"+strings.Repeat("?.x", n)+" == 1")
		condition(fmt.Sprintf("%d nots and brackets", n), nest("not (", "mfa", ")", n))
		condition(fmt.Sprintf("%d calls", n), nest("lower(", "device_id", ")", n)+` == "x"`)
		condition(fmt.Sprintf("%d terms", n), join(n, " or ", same("amount > 5")))
		condition(fmt.Sprintf("%d digits", n), "amount > "+strings.Repeat("9", n))
		condition(fmt.Sprintf("%d decimals", n), "amount > 0."+strings.Repeat("1", n))
		condition(fmt.Sprintf("a text of %d", n), `device_id == "`+strings.Repeat("x", n)+`"`)
		condition(fmt.Sprintf("a name of %d", n), strings.Repeat("x", n)+" > 5")
		condition(fmt.Sprintf("%d lines", n), strings.Repeat("\n", n)+"amount > 5")
		condition(fmt.Sprintf("a comment of %d", n), "amount > 5 /*"+strings.Repeat("*", n)+"*/")
	}
	// As much as the limits allow.
	condition("as many terms as may be", join(120, " or ", same("amount < 0.0001")))
	condition("as many in a list as may be", "device_id in ["+join(490, ", ", func(i int) string { return fmt.Sprintf("%q", strings.Repeat("a", 20)+fmt.Sprint(i)) })+"]")
	condition("as many numbers in a list", "amount in ["+join(490, ", ", func(i int) string { return fmt.Sprint(i, ".5") })+"]")
	condition("lists in lists", nest("((", "amount", " in [901, 902, 903]) ? 1 : 2)", 60)+" == 2")
	condition("long texts made, one in the other", nest("upper(lower(", "ip", "))", 60)+` == "x"`)
	condition("long texts made, side by side", join(80, " or ", same(`lower(ip) == upper(channel)`)))
	condition("long texts trimmed", join(100, " or ", same(`trim(ip) == "x"`)))
	condition("long texts measured", join(100, " or ", same(`len(ip) == 5`)))
	condition("long texts in each other", join(80, " or ", same(`ip contains (channel ?? "")`)))
	condition("long texts with an end in each other", join(60, " or ", func(i int) string { return fmt.Sprintf(`ip contains "%sb"`, strings.Repeat("a", 100+i)) }))
	condition("long texts compared", join(120, " or ", same(`ip != channel`)))
	condition("long texts hashed", join(60, " or ", same(`hash_bucket(ip, 7) == 9`)))
	condition("long texts as addresses", join(45, " or ", same(`in_cidr(ip, ["10.0.0.0/8"]) == true`)))
	condition("long texts as patterns take them", join(60, " or ", func(i int) string { return fmt.Sprintf(`ip matches "(a|b|%d)*c$"`, i) }))
	condition("a pattern with as many steps as may be", `ip matches "^((a|A){0,9}){0,30}b$"`)
	condition("a pattern of classes", `ip matches "([a-zA-Z]{0,30}){0,30}![0-9]$"`)
	condition("a pattern that begins anywhere", `ip matches "[ab]{900}c"`)
	condition("a pattern that begins anywhere, twice", `ip matches "[aB]{600}c" or channel matches "[aB]{600}d"`)
	condition("a pattern of alternatives", `ip matches "(`+join(150, "|", func(i int) string { return fmt.Sprintf("a{1,3}%d", i) })+`)$"`)
	condition("dates, many", join(60, " or ", same(`hour(occurred_at, "Europe/Berlin") == 25`)))
	condition("distances, many", join(45, " or ", same(`(distance_km(units, weight, units, weight) ?? 0) > 99999`)))
	condition("windows, many", join(35, " + ", func(i int) string { return fmt.Sprintf(`refunds.by(customer_id).within("%dh").count()`, i+1) })+" > 5")
	condition("deviations, many", join(30, " + ", func(i int) string { return fmt.Sprintf(`refunds.by(customer_id).within("%dh").stddev(amount)`, i+1) })+" > 5")
	condition("keys that are long", join(15, " or ", func(i int) string {
		return fmt.Sprintf(`refunds.by({ip: lower(ip), channel: upper(channel), country: lower(country)}).within("%dh").count() > 5`, i+1)
	}))
	condition("a where of patterns", `refunds.by(customer_id).where(`+join(30, " or ", func(i int) string { return fmt.Sprintf(`ip matches "(a|b|%d)*c$"`, i) })+`).ever().count() > 5`)

	folder("empty", "")
	folder("blanks", strings.Repeat(" \n", 10_000))
	folder("dashes", strings.Repeat("- ", 20_000))
	folder("open lists", strings.Repeat("[", 100_000))
	folder("open maps", strings.Repeat("{a: ", 20_000))
	folder("lists in lists", "rules: "+nest("[", "", "]", 5_000))
	folder("more and more indented", "rules:\n"+strings.Join(indented(400), "\n"))
	folder("an alias bomb", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\nrules: *d\n")
	folder("an alias of itself", "rules: &r [*r]\n")
	folder("a merge of itself", "rules:\n- &a\n  <<: *a\n  id: r\n  when: amount > 5\n  action: approve\n")
	folder("quotes", `rules: "`+strings.Repeat(`\"`, 50_000))
	folder("many keys", strings.Repeat("rules: []\n", 5_000))
	folder("more than a file may hold", rule+strings.Repeat("# padding\n", 120_000))
	folder("not UTF-8", "rules:\n- {id: \xff, action: approve, when: 'true'}\n")
	folder("zeros", "rules:\x00\x00\x00")
	folder("another byte order", "\xfe\xff\x00r\x00u\x00l\x00e\x00s")
	folder("too many rules", "rules:\n"+join(10_001, "", func(i int) string { return fmt.Sprintf("- {id: r%d, score: 1, when: amount > 5}\n", i) }))
	folder("too many expressions", "rules:\n"+join(1_001, "", func(i int) string {
		return fmt.Sprintf("- {id: r%d, score: 1, when: 'refunds.by(customer_id).within(\"%ds\").count() > 5'}\n", i, i+1)
	}))
	folder("macros that double", "macros:\n  m0: amount > 5\n"+join(40, "", func(i int) string { return fmt.Sprintf("  m%d: m%d or m%d\n", i+1, i, i) })+"rules: [{id: r, action: review, when: m40}]\n")
	folder("macros in a chain", "macros:\n  m0: amount > 5\n"+join(3_000, "", func(i int) string { return fmt.Sprintf("  m%d: not m%d\n", i+1, i) })+"rules: [{id: r, action: review, when: m3000}]\n")
	folder("macros in a circle", "macros:\n"+join(500, "", func(i int) string { return fmt.Sprintf("  m%d: not m%d\n", i, (i+1)%500) })+"rules: [{id: r, action: review, when: m7}]\n")
	folder("scores that add up", "rules:\n"+join(10_000, "", func(i int) string { return fmt.Sprintf("- {id: r%d, score: 1000000, when: amount > 0}\n", i) })+"policy: {review_at: 1, reject_at: 1000000}\n")
	folder("messages that are long", "rules:\n"+join(20, "", func(i int) string {
		return fmt.Sprintf("- {id: r%d, action: review, when: amount > 0, message: '%s'}\n", i, strings.Repeat("{{lower(ip)}}", 100))
	}))
	folder("a message that doesn't end", "rules: [{id: r, action: review, when: amount > 0, message: '"+strings.Repeat("{{", 900)+"'}]\n")
	folder("exceptions, many", "rules:\n- id: r\n  action: review\n  when: amount > 0\n  exceptions:\n"+strings.Repeat("  - {when: 'lower(ip) == upper(channel)', reason: x}\n", 50))
	return all
}

// indented are lines each deeper than the one before.
func indented(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = strings.Repeat(" ", i) + "a:"
	}
	return lines
}
