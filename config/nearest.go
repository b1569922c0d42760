package config

import "strings"

// nearest is the candidate that was probably meant by word, "" if none is near.
// No suggestion is better than a wrong one, so few slips are forgiven: one, or
// one in four letters, where the first part of logging.debian does not count. A
// word that is cut short or went on too long (max_sessions, smtp_password) is
// near as well.
func nearest(word string, candidates []string) string {
	const longest = 64 // nobody meant that; and the distance costs its square
	if len(word) > longest {
		return ""
	}
	lower := strings.ToLower(strings.TrimSpace(word))
	// Only strictly nearer ones replace the best, so that of equals the first, in
	// the schema's order, is named every time.
	_, own, _ := cutLast("."+lower, ".")
	best, least := "", max(1, len(own)/4)+1
	for _, c := range candidates {
		if d := distance(lower, strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	if best != "" {
		return best
	}
	for _, c := range candidates {
		short, long := min(len(lower), len(c)), max(len(lower), len(c))
		if short >= 6 && long > short && lower[:short] == c[:short] {
			return c
		}
	}
	return ""
}

// distance counts the letters to insert, delete, replace, or swap with their
// neighbour, to make a into b.
func distance(a, b string) int {
	var before []int // the row before the row before
	above := make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			swap := above[j]
			if a[i] != b[j] {
				swap++
			}
			row[j+1] = min(swap, above[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}
