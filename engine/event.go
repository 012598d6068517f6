package engine

import "time"

// An Event says what happened, in the order in which it did. As JSON it is one line
// of `vfsb build --json`.
type Event struct {
	Time    time.Time `json:"time"`
	Event   EventKind `json:"event"`
	Label   string    `json:"label,omitempty"`
	Status  Status    `json:"status,omitempty"`  // finished
	Rebuilt bool      `json:"rebuilt,omitempty"` // finished: for the second time, since its layer was gone from the store
	Key     string    `json:"key,omitempty"`     // finished
	Layer   string    `json:"layer,omitempty"`   // finished
	Seconds float64   `json:"seconds,omitempty"` // finished: wall time of the execution
	CPU     float64   `json:"cpu,omitempty"`     // finished: user and system time, seconds
	Phase   string    `json:"phase,omitempty"`   // phase; finished, when it failed: the phase it failed in
	Message string    `json:"message,omitempty"` // warning, output; why it failed or was skipped
	Log     string    `json:"log,omitempty"`     // finished: path of the log
	Tail    []string  `json:"tail,omitempty"`    // failed: the log's last lines
	Code    int       `json:"code,omitempty"`    // failed: exit code
	Kept    bool      `json:"kept,omitempty"`    // failed: `vfsb shell --failed` opens its folder
	Path    string    `json:"path,omitempty"`    // delivered
	URL     string    `json:"url,omitempty"`     // fetch
	Where   string    `json:"where,omitempty"`   // running, finished: on which cluster; "": on this machine
	Bytes   int64     `json:"bytes,omitempty"`   // fetch, delivered
	Total   int64     `json:"total,omitempty"`   // fetch: size, when known; started: number of nodes
	Remain  float64   `json:"remain,omitempty"`  // started: seconds on the critical path, from history
	Chosen  []bool    `json:"-"`                 // started, by Verify: which nodes run, by id
}

// An EventKind names what an event is about.
type EventKind string

// Kinds of events.
const (
	EventStarted   EventKind = "started"   // the graph is known: Total nodes
	EventFetch     EventKind = "fetch"     // a source or a layer is on its way: Bytes of Total; both are the same at its end
	EventRunning   EventKind = "running"   // a node's execution begins
	EventPhase     EventKind = "phase"     // its script entered a phase
	EventOutput    EventKind = "output"    // the last line that its script printed; not in --json
	EventStopped   EventKind = "stopped"   // its execution has ended, one way or another
	EventFinished  EventKind = "finished"  // a node is done, with its Status
	EventDelivered EventKind = "delivered" // a file was written to the output folder
	EventWarning   EventKind = "warning"   // something that a person should know
	EventEnded     EventKind = "ended"     // the build is over
)

// A Status is what became of a node.
type Status string

// Statuses. A node that was not reached has none.
const (
	Executed Status = "executed" // its action ran
	Cached   Status = "cached"   // its result was known
	Pulled   Status = "pulled"   // its result came from a remote cache
	Same     Status = "same"     // vfsb verify: it came out as the store has it
	Differs  Status = "differs"  // vfsb verify --other-seed: it came out different
	Failed   Status = "failed"   // its action ran and failed, or its output did not pass the guard
	Skipped  Status = "skipped"  // something that it needs failed
	Planned  Status = "planned"  // a dry run: it would run, or may be cut off by equal inputs
	Grouped  Status = "grouped"  // a group: its members are done
)
