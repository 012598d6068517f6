package artifact

import (
	"fmt"
	"strings"
)

// maxConflicts bounds the list of a ConflictError: two toolchains in one image differ in thousands of files, and
// nobody reads more than the first screen.
const maxConflicts = 20

// A Conflict is one path that two parts hold and do not agree on. What is the first aspect that differs: "kind",
// "mode", "owner", "bytes", "link" or "xattrs"; Values are its two values, for people to read.
type Conflict struct {
	Path          string
	First, Second string // labels
	What          string
	Values        [2]string
}

func (c Conflict) String() string {
	return fmt.Sprintf("%s: %s of %s (%s) and of %s (%s) differ", printable(c.Path), c.What, c.First, c.Values[0], c.Second, c.Values[1])
}

// A ConflictError lists the first conflicts of a merge, in the order of their paths. Count is the number of all.
type ConflictError struct {
	Conflicts []Conflict
	Count     int
}

func (e *ConflictError) Error() string {
	var b strings.Builder
	if e.Count == 1 {
		b.WriteString("merge: 1 conflict:")
	} else {
		fmt.Fprintf(&b, "merge: %d conflicts:", e.Count)
	}
	for _, c := range e.Conflicts {
		b.WriteString("\n  ")
		b.WriteString(c.String())
	}
	if more := e.Count - len(e.Conflicts); more > 0 {
		fmt.Fprintf(&b, "\n  and %d more", more)
	}
	b.WriteString("\ndrop the path from one of the two (drop), or let one take it over (replaces, with path and reason)")
	return b.String()
}
