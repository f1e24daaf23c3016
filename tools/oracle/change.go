package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A pointer and the value to put there; without a value what is there is taken out.
type change []json.RawMessage

var reference = regexp.MustCompile(`\{\{([^{}#]*)#([^{}]*)\}\}`)

func steps(pointer string) []string {
	parts := strings.Split(pointer, "/")[1:]
	for at, part := range parts {
		parts[at] = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
	}
	return parts
}

func changed(object any, path []string, value any, remove bool) any {
	if len(path) == 0 {
		return value
	}
	last := len(path) == 1
	if list, ok := object.([]any); ok {
		at, err := strconv.Atoi(path[0])
		if err != nil || at > len(list) {
			return object
		}
		if last && remove {
			return append(list[:at:at], list[at+1:]...)
		}
		if at == len(list) {
			list = append(list, nil)
		}
		list[at] = changed(list[at], path[1:], value, remove)
		return list
	}
	fields, ok := object.(map[string]any)
	if !ok {
		fields = map[string]any{}
	}
	if last && remove {
		delete(fields, path[0])
	} else {
		fields[path[0]] = changed(fields[path[0]], path[1:], value, remove)
	}
	return fields
}

func valueAt(body, pointer string) string {
	var at any
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.UseNumber()
	if decoder.Decode(&at) != nil {
		return ""
	}
	for _, step := range steps(pointer) {
		fields, ok := at.(map[string]any)
		if !ok {
			return ""
		}
		at = fields[step]
	}
	if at == nil {
		return ""
	}
	return fmt.Sprint(at)
}

// {{ID#/pointer}}: what stood there in the answer to that request.
func referred(text string, bodies map[string]string) string {
	return reference.ReplaceAllStringFunc(text, func(found string) string {
		parts := reference.FindStringSubmatch(found)
		return valueAt(bodies[parts[1]], parts[2])
	})
}

func (r *request) resolve(bodies map[string]string) error {
	r.Path = referred(r.Path, bodies)
	r.Body = referred(r.Body, bodies)
	if r.From == "" {
		return nil
	}
	var object any
	decoder := json.NewDecoder(strings.NewReader(bodies[r.From]))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		return fmt.Errorf("the answer to %q is no JSON: %w", r.From, err)
	}
	for _, one := range r.Change {
		var pointer string
		if err := json.Unmarshal(one[0], &pointer); err != nil {
			return err
		}
		var value any
		if len(one) > 1 {
			if err := json.Unmarshal(one[1], &value); err != nil {
				return err
			}
		}
		object = changed(object, steps(pointer), value, len(one) == 1)
	}
	body, err := json.Marshal(object)
	r.Body = string(body)
	return err
}
