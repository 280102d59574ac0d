package codec

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
)

// Time is a point in time in unix ms.
type Time int64

var (
	timeType  = reflect.TypeFor[Time]()
	bytesType = reflect.TypeFor[[]byte]()
)

// Decode reads a body, an object, into the struct that into points to. A member belongs to the field of its name; others are passed over. A member
// that is null is as one that is not there. Fields are strings, whole numbers, bools, Times, []byte, structs, pointers to and slices of these,
// and maps from string to string. It returns r's error.
func Decode(r Reader, into any) error {
	v := reflect.ValueOf(into).Elem()
	readStruct(r, v)
	r.End()
	return r.Err()
}

func readStruct(r Reader, v reflect.Value) {
	for r.Open(Object); r.More(); {
		field := v.FieldByName(string(r.Name()))
		if !field.CanSet() || r.Kind() == Null { // there is none, or it is an embedded struct, which has no name of its own
			r.Skip()
			continue
		}
		readValue(r, field)
	}
}

func readValue(r Reader, v reflect.Value) {
	switch t := v.Type(); {
	case t == timeType:
		v.SetInt(r.Time())
	case t == bytesType:
		v.SetBytes(append([]byte{}, r.Blob()...))
	case t.Kind() == reflect.Pointer:
		p := reflect.New(t.Elem())
		readValue(r, p.Elem())
		v.Set(p)
	case t.Kind() == reflect.Slice:
		readSlice(r, v)
	case t.Kind() == reflect.Map:
		readMap(r, v)
	case t.Kind() == reflect.Struct:
		readStruct(r, v)
	case t.Kind() == reflect.String:
		v.SetString(string(r.Text()))
	case t.Kind() == reflect.Bool:
		v.SetBool(r.Bool())
	case t.Kind() == reflect.Int64:
		v.SetInt(r.Int())
	default:
		panic(fmt.Sprintf("codec: no way to read a %v", t)) // a mistake in an operation's own types
	}
}

func readSlice(r Reader, v reflect.Value) {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	for r.Open(Array); r.More(); {
		e := reflect.New(v.Type().Elem()).Elem()
		if r.Kind() == Null {
			r.Skip()
		} else {
			readValue(r, e)
		}
		v.Set(reflect.Append(v, e))
	}
}

func readMap(r Reader, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	for r.Open(Object); r.More(); {
		name := string(r.Name())
		text := ""
		if r.Kind() == Null {
			r.Skip()
		} else {
			text = string(r.Text())
		}
		v.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf(text))
	}
}

// Encode writes the struct that from points to, member by member. Fields that are nil are left out: clients take null for a value.
func Encode(w Writer, from any) { writeValue(w, reflect.ValueOf(from).Elem()) }

func writeValue(w Writer, v reflect.Value) {
	switch t := v.Type(); {
	case t == timeType:
		w.Time(v.Int())
	case t == bytesType:
		w.Blob(v.Bytes())
	case t.Kind() == reflect.Pointer:
		writeValue(w, v.Elem())
	case t.Kind() == reflect.Slice:
		w.Begin(Array)
		for i := range v.Len() {
			writeValue(w, v.Index(i))
		}
		w.End(Array)
	case t.Kind() == reflect.Map:
		writeMap(w, v)
	case t.Kind() == reflect.Struct:
		w.Begin(Object)
		for i := range v.NumField() {
			if f := v.Field(i); !absent(f) {
				w.Name(t.Field(i).Name)
				writeValue(w, f)
			}
		}
		w.End(Object)
	case t.Kind() == reflect.String:
		w.Text(v.String())
	case t.Kind() == reflect.Bool:
		w.Bool(v.Bool())
	case t.Kind() == reflect.Int64:
		w.Int(v.Int())
	case t.Kind() == reflect.Float64:
		w.Float(v.Float())
	default:
		panic(fmt.Sprintf("codec: no way to write a %v", t)) // a mistake in an operation's own types
	}
}

func absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return v.IsNil()
	}
	return false
}

// writeMap writes the entries of a map in the order of their keys.
func writeMap(w Writer, v reflect.Value) {
	w.Begin(Object)
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
	for _, k := range keys {
		w.Name(k.String())
		writeValue(w, v.MapIndex(k))
	}
	w.End(Object)
}
