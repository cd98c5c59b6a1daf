package cybervault

// DispositionCount is what people said of the findings that a rule, a vector or a
// pattern led to: how many of them were malicious, and how many were false alarms.
type DispositionCount struct {
	TruePositives  int
	FalsePositives int
}

// DispositionCounts are those of one workspace, by name: the id of a rule
// as a [Detection] has it ("942100", a Sigma UUID), or a vector or pattern as an
// event has it ("sql_injection", "brute_force"). A finding that people judged is
// counted once under each name that it shows. No rule has the name of a vector.
type DispositionCounts map[string]DispositionCount
