package api

import (
	"encoding/json"
	"strconv"

	"github.com/cybervault/cybervault"
)

// incidentFields are what a person may change of an incident. Which values will do
// is the service's to say.
func incidentFields() fields[cybervault.IncidentChange] {
	type change = cybervault.IncidentChange
	return fields[change]{
		{
			name: "status", doc: "acknowledge it, resolve it, or open it again", schema: enum(cybervault.IncidentStatuses()...),
			read: func(raw json.RawMessage, into *change) error {
				return set(&into.Status, raw, readWord[cybervault.IncidentStatus])
			},
		}, {
			name: "disposition", doc: "what it turned out to be; null takes back what was said", schema: enum(cybervault.IncidentDispositions()...),
			read: func(raw json.RawMessage, into *change) error {
				return set(&into.Disposition, raw, readWord[cybervault.IncidentDisposition])
			},
			null: func(into *change) { into.Disposition = new(cybervault.IncidentDisposition) },
		}, {
			name: "severity", doc: "how severe it is, which the engine then leaves alone; null leaves it to the engine again", schema: enum(cybervault.Severities()...),
			read: func(raw json.RawMessage, into *change) error {
				return set(&into.Severity, raw, readWord[cybervault.Severity])
			},
			null: func(into *change) { into.Severity = new(cybervault.Severity) },
		}, {
			name: "title", doc: "what happens, in one line, which the engine then leaves alone; null leaves it to the engine again",
			schema: schema{"type": "string", "minLength": 1, "maxLength": cybervault.MaxIncidentTextBytes},
			read:   func(raw json.RawMessage, into *change) error { return set(&into.Title, raw, readSome) },
			null:   func(into *change) { into.Title = new(string) },
		}, {
			name: "assignee", doc: "who looks after it, in your words; null for nobody", schema: schema{"type": "string", "minLength": 1, "maxLength": cybervault.MaxIncidentTextBytes},
			read: func(raw json.RawMessage, into *change) error { return set(&into.Assignee, raw, readSome) },
			null: func(into *change) { into.Assignee = new(string) },
		}, {
			name: "note", doc: "a note to add", schema: schema{"type": "string", "minLength": 1, "maxLength": cybervault.MaxIncidentNoteBytes},
			read: func(raw json.RawMessage, into *change) error { return set(&into.Note, raw, readString) },
		},
		mergeField(false), revisionField(),
	}
}

func mergeFields() fields[cybervault.IncidentChange] {
	return fields[cybervault.IncidentChange]{mergeField(true), revisionField()}
}

func mergeField(required bool) field[cybervault.IncidentChange] {
	return field[cybervault.IncidentChange]{
		name: "merge_into", required: required, doc: "name the incident that its members are to move to", schema: of[cybervault.IncidentID](),
		read: func(raw json.RawMessage, into *cybervault.IncidentChange) error {
			return set(&into.MergeInto, raw, func(raw json.RawMessage) (cybervault.IncidentID, error) {
				text, err := readString(raw)
				if err != nil {
					return cybervault.IncidentID{}, err
				}
				return cybervault.ParseID[cybervault.IncidentID](text)
			})
		},
	}
}

func revisionField() field[cybervault.IncidentChange] {
	return field[cybervault.IncidentChange]{
		name: "revision", doc: "the revision that the change is for; it is refused if the incident has another one by now", schema: schema{"type": "integer", "minimum": 1},
		read: func(raw json.RawMessage, into *cybervault.IncidentChange) error {
			return set(&into.Revision, raw, func(raw json.RawMessage) (int64, error) {
				n, err := strconv.ParseInt(string(raw), 10, 64)
				if err != nil || n < 1 {
					return 0, cybervault.Errorf(cybervault.CodeInvalid, "is %s: give the revision as it was answered, a whole number from 1", shownNumber(raw))
				}
				return n, nil
			})
		},
	}
}

// readWord reads one word of some that the service knows. An empty one is none of
// them, though it means something between stages.
func readWord[S ~string](raw json.RawMessage) (S, error) {
	text, err := readSome(raw)
	return S(text), err
}

// readSome reads a string that is not empty.
func readSome(raw json.RawMessage) (string, error) {
	text, err := readString(raw)
	if err == nil && text == "" {
		return "", cybervault.Errorf(cybervault.CodeInvalid, "is empty: give a value, or leave it out")
	}
	return text, err
}
