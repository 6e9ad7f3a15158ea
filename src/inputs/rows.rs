//! Rows of an export, from JSON or CSV. Each field knows its line, so that a mistake in it can be shown.

use super::mistake::{Mistakes, quoted};
use csv::{ReaderBuilder, StringRecord};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use std::{collections::HashSet, fmt};

/// So many fields a row has at most; what Exchange exports has a tenth of them.
const MOST_FIELDS: usize = 512;

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Where it begins.
    pub line: usize,
    fields: Vec<Field>,
}

/// One field of it.
#[derive(Clone, Debug)]
pub struct Field {
    /// What it is called.
    pub name: String,
    /// Where it stands.
    pub line: usize,
    /// What it holds; null where it is empty.
    pub value: Value,
}

impl Row {
    /// A field by its name, letter case aside.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// It has a field of this name, empty or not.
    pub fn has(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// The names of all its fields.
    pub fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|field| field.name.as_str()).collect()
    }
}

/// Reads CSV with a header, as Export-Csv and Excel write it. What the header makes of it comes first: where it is nothing that is
/// known, there is no more to say. A file that breaks off is a mistake.
pub fn csv<K>(text: &str, mistakes: &mut Mistakes, known: impl Fn(&Row) -> Result<K, String>) -> Option<(K, Vec<Row>)> {
    let first = text.lines().next().unwrap_or_default();
    // Windows PowerShell writes the type of its objects first.
    let skipped = if first.starts_with("#TYPE") { text.find('\n').map_or(text.len(), |end| end + 1) } else { 0 };
    let table = &text[skipped..];
    let delimiter = delimiter(table.lines().next().unwrap_or_default());
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(table.as_bytes());
    let mut lines = Lines::of(text);
    let mut record = StringRecord::new();
    if !reader.read_record(&mut record).is_ok_and(|is_there| is_there) {
        mistakes.whole("holds no row");
        return None;
    }
    let header = named(&record, lines.at(skipped + offset(&record)), mistakes)?;
    let kind = known(&header).map_err(|wrong| mistakes.line(header.line, wrong)).ok()?;
    if table.matches('"').count() % 2 == 1 {
        mistakes.line(text.lines().count(), "a quotation mark is not closed; is the file cut off?");
        return None;
    }
    let mut rows = Vec::new();
    while reader.read_record(&mut record).is_ok_and(|is_there| is_there) {
        let line = lines.at(skipped + offset(&record));
        let (has, columns) = (record.len(), header.fields.len());
        if has != columns {
            let what = format!("has {has} fields where the first row has {columns}; is the file cut off?");
            mistakes.line(line, what);
            continue;
        }
        let value = |text: &str| if text.trim().is_empty() { Value::Null } else { Value::from(text.trim()) };
        let fields = header.fields.iter().zip(&record);
        let fields = fields.map(|(field, text)| Field { name: field.name.clone(), line, value: value(text) }).collect();
        rows.push(Row { line, fields });
    }
    Some((kind, rows))
}

/// Where a record of CSV begins.
pub fn offset(record: &StringRecord) -> usize {
    record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or_default()
}

/// The first row names the columns.
fn named(record: &StringRecord, line: usize, mistakes: &mut Mistakes) -> Option<Row> {
    if record.len() > MOST_FIELDS {
        mistakes.line(line, format!("has {} columns; {MOST_FIELDS} are the most that are read", record.len()));
        return None;
    }
    let (mut fields, mut known) = (Vec::new(), HashSet::new());
    for name in record {
        let name = name.trim();
        if !known.insert(name.to_ascii_lowercase()) {
            mistakes.line(line, format!("there are two columns {}", quoted(name)));
            return None;
        }
        fields.push(Field { name: name.into(), line, value: Value::Null });
    }
    Some(Row { line, fields })
}

/// Which of comma, semicolon and tabulator stands most often between the names of columns.
fn delimiter(header: &str) -> u8 {
    let times = |mark: u8| header.bytes().filter(|byte| *byte == mark).count();
    // Of equals the last wins.
    [b'\t', b';', b','].into_iter().max_by_key(|mark| times(*mark)).unwrap_or(b',')
}

/// A part of a JSON text that knows its line.
#[derive(Clone, Copy, Debug)]
pub struct Json<'t> {
    text: &'t str,
    raw: &'t RawValue,
}

impl<'t> Json<'t> {
    /// Reads a whole file.
    pub fn read(text: &'t str, mistakes: &mut Mistakes) -> Option<Self> {
        match serde_json::from_str(text) {
            Ok(raw) => Some(Self { text, raw }),
            Err(error) if error.is_eof() => {
                mistakes.line(error.line(), "the JSON ends before it is complete; is the file cut off?");
                None
            }
            Err(error) => {
                mistakes.line(error.line(), format!("is no JSON: {error}"));
                None
            }
        }
    }

    /// Its line.
    pub fn line(self) -> usize {
        Lines::of(self.text).at(self.offset())
    }

    fn offset(self) -> usize {
        (self.raw.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }

    /// The fields of an object, in their order; `None` if it is none.
    pub fn object(self) -> Option<Vec<(String, Self)>> {
        let fields: Fields<'t> = serde_json::from_str(self.raw.get()).ok()?;
        Some(fields.0.into_iter().map(|(name, raw)| (name, Self { raw, ..self })).collect())
    }

    /// The items of a list; `None` if it is none.
    pub fn list(self) -> Option<Vec<Self>> {
        let items: Vec<&'t RawValue> = serde_json::from_str(self.raw.get()).ok()?;
        Some(items.into_iter().map(|raw| Self { raw, ..self }).collect())
    }

    /// All that it holds.
    pub fn value(self) -> Value {
        // It was parsed once; only numbers beyond every bound and depth are left to be refused.
        serde_json::from_str(self.raw.get()).unwrap_or(Value::Null)
    }

    /// Its rows: of a list, of one object alone, and of what PowerShell puts around a list.
    pub fn rows(self, mistakes: &mut Mistakes) -> Vec<Row> {
        let mut rows = Vec::new();
        self.gather(&mut rows, &mut Lines::of(self.text), 2, mistakes);
        rows
    }

    fn gather(self, rows: &mut Vec<Row>, lines: &mut Lines<'_>, depth: usize, mistakes: &mut Mistakes) {
        if let Some(items) = self.list().filter(|_| depth > 0) {
            return match items.as_slice() {
                // @($null): nothing was found.
                [one] if one.raw.get() == "null" => {}
                items => items.iter().for_each(|item| item.gather(rows, lines, depth - 1, mistakes)),
            };
        }
        let Some(fields) = self.object() else {
            mistakes.line(self.line(), "a row is an object in braces; this is none");
            return;
        };
        if let Some((_, list)) = fields.iter().find(|(name, value)| name == "value" && value.list().is_some())
            && fields.iter().all(|(name, _)| WRAPPING.contains(&name.as_str()))
            && depth > 0
        {
            return list.gather(rows, lines, depth, mistakes);
        }
        let line = lines.at(self.offset());
        if fields.len() > MOST_FIELDS {
            mistakes.line(line, format!("has {} fields; {MOST_FIELDS} are the most that are read", fields.len()));
            return;
        }
        let (mut row, mut known) = (Row { line, fields: Vec::new() }, HashSet::new());
        for (name, part) in fields {
            if !known.insert(name.to_ascii_lowercase()) {
                mistakes.field(lines.at(part.offset()), &name, "is there twice");
            }
            row.fields.push(Field { name, line: lines.at(part.offset()), value: part.value() });
        }
        rows.push(row);
    }
}

/// Fields around a list of rows.
const WRAPPING: [&str; 4] = ["value", "Count", "@odata.context", "@odata.nextLink"];

/// Counts lines forward, so that a large file is counted once.
pub struct Lines<'t> {
    text: &'t str,
    offset: usize,
    before: usize,
}

impl<'t> Lines<'t> {
    /// From the beginning of a text.
    pub fn of(text: &'t str) -> Self {
        Self { text, offset: 0, before: 0 }
    }

    /// The line of what begins here, from 1; ends of lines before it are not yet it.
    pub fn at(&mut self, offset: usize) -> usize {
        let rest = self.text.get(offset..).unwrap_or_default();
        let offset = offset + rest.len() - rest.trim_start_matches(['\r', '\n']).len();
        if offset < self.offset {
            *self = Self::of(self.text);
        }
        self.before += self.text.get(self.offset..offset).unwrap_or_default().matches('\n').count();
        self.offset = offset;
        self.before + 1
    }
}

/// The fields of an object, unread.
struct Fields<'t>(Vec<(String, &'t RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json_rows(text: &str) -> (Vec<Row>, Vec<String>) {
        let mut mistakes = Mistakes::of("a.json");
        let rows = Json::read(text, &mut mistakes).map(|json| json.rows(&mut mistakes)).unwrap_or_default();
        (rows, mistakes.into_sentences())
    }

    fn csv_rows(text: &str) -> (Vec<Row>, Vec<String>) {
        let mut mistakes = Mistakes::of("a.csv");
        let rows = csv(text, &mut mistakes, |_| Ok(())).map(|((), rows)| rows).unwrap_or_default();
        (rows, mistakes.into_sentences())
    }

    #[test]
    fn rows_are_found_in_whatever_powershell_puts_around_them() {
        for text in [
            "[{\"A\": 1}, {\"A\": 2}]",
            "{\"value\": [{\"A\": 1}, {\"A\": 2}], \"Count\": 2}",
            "[{\"value\": [{\"A\": 1}, {\"A\": 2}], \"Count\": 2}]",
        ] {
            let (rows, mistakes) = json_rows(text);
            assert!(rows.len() == 2 && mistakes.is_empty(), "{text}: {mistakes:?}");
        }
        assert_eq!(json_rows("{\"A\": 1}").0.len(), 1);
        assert_eq!(json_rows("[null]").0.len(), 0);
        assert_eq!(json_rows("{\"value\": [1], \"Name\": \"x\"}").0.len(), 1, "a row that has such a field");
    }

    #[test]
    fn fields_know_their_lines() {
        let (rows, _) = json_rows("[\n {\n  \"A\": 1,\n  \"B\": [\n   2]\n },\n {\"a\": 3}]");
        let lines = |row: &Row| (row.line, row.fields.iter().map(|field| field.line).collect::<Vec<_>>());
        assert_eq!(rows.iter().map(lines).collect::<Vec<_>>(), [(2, vec![3, 4]), (7, vec![7])]);
        let (rows, _) = csv_rows("#TYPE Selected\r\nA;B\r\n1;2\r\n\"3\r\n4\";5\r\n6;\r\n");
        assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [3, 4, 6]);
        assert_eq!(rows[2].field("b").unwrap().value, Value::Null);
    }

    #[test]
    fn what_is_cut_off_is_told() {
        for (text, place) in [
            ("[{\"A\": 1},\n {\"A\":", "a.json, line 2"),
            ("[1]", "a.json, line 1"),
            ("{\"A\": 1,\n\"a\": 2}", "a.json, line 2, field a"),
        ] {
            let (_, mistakes) = json_rows(text);
            assert!(mistakes[0].starts_with(place), "{mistakes:?}");
        }
        for (text, place) in
            [("A,B\n1,2\n3", "a.csv, line 3"), ("A,B\n1,\"2", "a.csv, line 2"), ("A,a\n1,2", "a.csv, line 1")]
        {
            let (_, mistakes) = csv_rows(text);
            assert!(mistakes[0].starts_with(place), "{mistakes:?}");
        }
    }

    #[test]
    fn a_row_has_no_more_fields_than_are_read() {
        let names: Vec<_> = (0..=MOST_FIELDS).map(|number| format!("F{number}")).collect();
        let json = format!("{{{}}}", names.iter().map(|name| format!("\"{name}\": 1")).collect::<Vec<_>>().join(","));
        let ((rows, of_json), (none, of_csv)) = (json_rows(&json), csv_rows(&names.join(",")));
        assert!(rows.is_empty() && of_json[0].contains("513 fields"), "{of_json:?}");
        assert!(none.is_empty() && of_csv[0].contains("513 columns"), "{of_csv:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_rows_or_mistakes(text in "[\\[\\]{}\":,; AB1\\n]{0,60}") {
            let _ = (csv_rows(&text), json_rows(&text));
        }
    }
}
