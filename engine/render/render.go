// Package render turns templates into the scripts that the sandbox runs. It is the only user of gonja.
//
// Of gonja it takes the grammar: the parser and its nodes. Tokens, statements and expressions are made and evaluated
// here, over plain values and without reflection, because a script must not depend on anything that is not an input of
// it: no clock, no random numbers, no host files, no methods of Go values, no silently printed "None", "True" or "['a']".
//
// The language is Jinja's with these choices:
//
//   - Delimiters are {{ }}, {% %} and, for comments, {## ##}: bash's ${#a[@]} and ${x%#} stay what they are.
//   - A line that holds only statements and comments leaves nothing behind. Within a line, nothing is trimmed, so words
//     and lines of a script never join. The usual "-" trims by hand, "+" keeps such a line. The final newline stays.
//   - Statements: if, for, set, macro, include, import, from, raw. Names of included files are literal strings.
//   - Undefined names are errors, also in branches that are not taken. A name that the same template tests with
//     "is defined", or that is given a default, is exempt.
//   - Only strings and whole numbers print. Lists go through join or sh, booleans through "'yes' if x else 'no'".
//
// The package knows nothing of packages, stages or rules; a template's context is whatever the caller hands in.
package render

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Templates holds every declared template file by name. It is safe for concurrent use.
type Templates struct {
	files map[string]string

	mu       sync.Mutex
	compiled map[string]*template // by name; parsed once
	failed   map[string]error
}

// New returns the templates of files, by name. A name is a slash-separated relative path. New keeps copies.
func New(files map[string][]byte) *Templates {
	t := &Templates{files: make(map[string]string, len(files)), compiled: map[string]*template{}, failed: map[string]error{}}
	for name, text := range files {
		t.files[name] = string(text)
	}
	return t
}

// Render renders the declared file name. The context's values are nil, strings, booleans, integers, slices, and maps
// with string keys, nested as you like; they are copied first, so that no rendering can change what another sees.
// An error that concerns a template is an *Error.
func (t *Templates) Render(name string, ctx map[string]any) (string, error) {
	tpl, err := t.compile(name)
	if err != nil {
		return "", err
	}
	return render(tpl, ctx)
}

// RenderText renders text, which errors call name, as Render does. It may include declared files.
func (t *Templates) RenderText(name, text string, ctx map[string]any) (string, error) {
	if !strings.Contains(text, "{{") && !strings.Contains(text, "{%") && !strings.Contains(text, "{##") &&
		!strings.Contains(text, "\r") && len(text) <= maxSource {
		return text, nil
	}
	tpl, err := t.compileText(name, text)
	if err != nil {
		return "", err
	}
	return render(tpl, ctx)
}

// Uses returns the names of the files that the declared file name includes or imports, transitively, sorted, without
// itself. Together with name they are all the files that a rendering reads. A file that does not compile has none.
func (t *Templates) Uses(name string) []string {
	tpl, err := t.compile(name)
	if err != nil {
		return nil
	}
	return slices.Clone(tpl.uses)
}

// UsesText is Uses for a text as given to RenderText.
func (t *Templates) UsesText(name, text string) ([]string, error) {
	tpl, err := t.compileText(name, text)
	if err != nil {
		return nil, err
	}
	return tpl.uses, nil
}

// Check compiles the declared file name and everything that it includes, and returns the first error.
func (t *Templates) Check(name string) error {
	_, err := t.compile(name)
	return err
}

func (t *Templates) compile(name string) (*template, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tpl, err := t.load(name, nil)
	if missing := (*missingFile)(nil); errors.As(err, &missing) {
		return nil, &Error{Template: name, Message: missing.Error()}
	}
	return tpl, err
}

func (t *Templates) compileText(name, text string) (*template, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.build(&source{name: name, text: normalise(text)}, nil)
}

// A missingFile is an include of a name that is not declared or not allowed.
type missingFile struct{ text string }

func (m *missingFile) Error() string { return m.text }

// load returns the compiled file name. open lists the files whose compilation waits for this one, outermost first.
// The caller holds t.mu.
func (t *Templates) load(name string, open []string) (*template, error) {
	if tpl := t.compiled[name]; tpl != nil {
		return tpl, nil
	}
	if err := t.failed[name]; err != nil {
		return nil, err
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	if slices.Contains(open, name) {
		return nil, &missingFile{fmt.Sprintf("%q includes itself: %s", name, strings.Join(append(open, name), " -> "))}
	}
	text, ok := t.files[name]
	if !ok {
		return nil, &missingFile{fmt.Sprintf("no template %q is declared", name)}
	}
	tpl, err := t.build(&source{name: name, text: normalise(text)}, open)
	if err != nil {
		// What fails within a cycle may compile elsewhere: only outermost results are kept.
		if len(open) == 0 {
			t.failed[name] = err
		}
		return nil, err
	}
	t.compiled[name] = tpl
	return tpl, nil
}

// build parses src, loads what it includes and finds the names that it needs.
func (t *Templates) build(src *source, open []string) (*template, error) {
	body, err := parse(src)
	if err != nil {
		return nil, err
	}
	tpl := &template{src: src, body: body, files: map[string]*template{}}
	uses := map[string]bool{}
	for _, inc := range includes(body) {
		if tpl.files[inc.file] != nil {
			continue
		}
		sub, err := t.load(inc.file, append(slices.Clone(open), src.name))
		if missing := (*missingFile)(nil); errors.As(err, &missing) {
			return nil, src.fail(inc.line(), "%s", missing)
		}
		if err != nil {
			return nil, err
		}
		tpl.files[inc.file] = sub
		uses[inc.file] = true
		for _, name := range sub.uses {
			uses[name] = true
		}
	}
	tpl.uses = slices.Sorted(maps.Keys(uses))
	tpl.needs, err = findNeeds(tpl)
	return tpl, err
}

// checkName refuses names that are not clean relative paths.
func checkName(name string) error {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return &missingFile{fmt.Sprintf("template name %q is not a clean relative path: name a declared file", name)}
		}
	}
	return nil
}
