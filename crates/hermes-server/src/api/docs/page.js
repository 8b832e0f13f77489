// Shows the API document of the server that this page comes from. Everything is put in as text, never as markup.
"use strict";

/** An element with attributes and children; a text is a child too. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== ""));
  return element;
}

/** A text in which what stands in backticks is code. */
function prose(text) {
  return (text ?? "").split("`").map((part, at) => (at % 2 ? make("code", {}, part) : part));
}

const code = (text) => make("code", {}, text);
const json = (value) => make("pre", {}, JSON.stringify(value, null, 2));
const nameOf = (pointer) => pointer.split("/").pop();

/** What a reference points to. */
function follow(root, value) {
  if (!value?.$ref) return value;
  return value.$ref.slice(2).split("/").reduce((at, step) => at[step], root);
}

/** A schema in a few words, with links to the named ones. */
function typeOf(schema) {
  if (!schema) return [];
  if (schema.$ref) return [make("a", { href: `#schema-${nameOf(schema.$ref)}` }, nameOf(schema.$ref))];
  if (schema.allOf) return schema.allOf.flatMap((part, at) => (at ? [" + ", ...typeOf(part)] : typeOf(part)));
  if (schema.anyOf) return schema.anyOf.flatMap((part, at) => (at ? [" | ", ...typeOf(part)] : typeOf(part)));
  if ("const" in schema) return [code(JSON.stringify(schema.const))];
  if (schema.enum) return schema.enum.flatMap((word, at) => (at ? [" | ", code(JSON.stringify(word))] : [code(JSON.stringify(word))]));
  if (schema.type === "array") return ["list of ", ...(schema.items ? typeOf(schema.items) : ["anything"])];
  const inner = schema.additionalProperties;
  if (schema.type === "object" && typeof inner === "object") return ["object of ", ...typeOf(inner)];
  const type = [].concat(schema.type ?? "object").join(" | ");
  return [type];
}

/** The bounds of a schema. */
function boundsOf(schema) {
  const words = [];
  const range = [schema.minimum ?? schema.exclusiveMinimum, schema.maximum];
  if (range[0] !== undefined || range[1] !== undefined) words.push(`${range[0] ?? ""} to ${range[1] ?? ""}`);
  if (schema.maxLength !== undefined) words.push(`at most ${schema.maxLength} characters`);
  if (schema.maxItems !== undefined) words.push(`at most ${schema.maxItems} items`);
  if (schema.maxProperties !== undefined) words.push(`at most ${schema.maxProperties} members`);
  if ("default" in schema) words.push(`default ${JSON.stringify(schema.default)}`);
  return words.length ? make("small", {}, ` (${words.join("; ")})`) : "";
}

/** A table of rows, each a list of cells. */
function table(head, rows) {
  if (!rows.length) return "";
  const cells = (tag) => (row) => make("tr", {}, row.map((cell) => make(tag, {}, ...[].concat(cell))));
  return make("table", {}, make("thead", {}, cells("th")(head)), make("tbody", {}, rows.map(cells("td"))));
}

function membersOf(schema) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, member]) => [
    [code(name), required.has(name) ? make("abbr", { title: "required" }, " *") : ""],
    [...typeOf(member), boundsOf(member)],
    prose(member.description),
  ]);
}

function showSchema(root, name, schema) {
  const parts = (schema.allOf ?? [schema]).map((part) => (part.$ref ? undefined : part)).filter(Boolean);
  const own = parts.flatMap(membersOf);
  const isPlain = !schema.properties && !schema.allOf;
  return make("section", { id: `schema-${name}` },
    make("h3", {}, name),
    make("p", {}, prose(schema.description), schema.allOf ? [" All of ", ...typeOf(schema.allOf[0]), ", and:"] : ""),
    isPlain ? make("p", {}, ...typeOf(schema), boundsOf(schema)) : "",
    schema.pattern ? make("p", {}, "Pattern: ", make("code", { class: "long" }, schema.pattern)) : "",
    table(["member", "type", ""], own),
    (schema.examples ?? []).slice(0, 1).map(json));
}

function showParameters(root, item, operation) {
  const all = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map((each) => follow(root, each));
  const rows = all.map((each) => [
    [code(each.name), each.required ? make("abbr", { title: "required" }, " *") : ""],
    each.in,
    [...typeOf(each.schema), boundsOf(each.schema)],
    prose(each.description),
  ]);
  return rows.length ? [make("h4", {}, "Parameters"), table(["name", "in", "type", ""], rows)] : [];
}

function showBody(operation) {
  const body = operation.requestBody;
  if (!body) return [];
  const kinds = Object.entries(body.content).map(([media, of]) => make("p", {}, code(media), " ", ...typeOf(of.schema), body.required ? "" : " (optional)"));
  return [make("h4", {}, "Body"), ...kinds];
}

function showResponses(root, operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) => {
    response = follow(root, response);
    const kinds = Object.entries(response.content ?? {});
    const codes = kinds.flatMap(([, of]) => of.schema?.allOf?.[1]?.properties?.code?.enum ?? []);
    const what = codes.length
      ? codes.flatMap((word, at) => (at ? [" ", code(word)] : [code(word)]))
      : kinds.flatMap(([media, of], at) => [at ? make("br", {}) : "", code(media), " ", ...typeOf(of.schema)]);
    return [make("b", { class: `status s${status[0]}` }, status), prose(response.description), what];
  });
  return [make("h4", {}, "Answers"), table(["status", "", ""], rows)];
}

function showOperation(root, path, method, item, operation) {
  return make("details", { id: operation.operationId },
    make("summary", {}, make("b", { class: `method ${method}` }, method.toUpperCase()), " ", make("code", {}, path), " ", make("span", {}, operation.summary)),
    make("p", {}, prose(operation.description)),
    showParameters(root, item, operation), showBody(operation), showResponses(root, operation));
}

function show(root) {
  const page = document.getElementById("document");
  const contents = document.getElementById("contents");
  page.append(make("h1", {}, root.info.title), make("p", { class: "lead" }, root.info.summary),
    make("p", {}, prose(root.info.description)),
    make("p", {}, "For programs: ", make("a", { href: "/openapi.json" }, "openapi.json"), ` (OpenAPI ${root.openapi}).`));
  contents.append(make("a", { href: "#document", class: "home" }, root.info.title));
  for (const tag of root.tags) {
    page.append(make("h2", { id: `tag-${tag.name}` }, tag.name), make("p", {}, prose(tag.description)));
    contents.append(make("h2", {}, tag.name));
    for (const [path, item] of Object.entries(root.paths)) {
      for (const [method, operation] of Object.entries(item)) {
        if (method === "parameters" || !operation.tags.includes(tag.name)) continue;
        page.append(showOperation(root, path, method, item, operation));
        contents.append(make("a", { href: `#${operation.operationId}` }, operation.summary));
      }
    }
  }
  page.append(make("h2", { id: "schemas" }, "types"));
  contents.append(make("h2", {}, "types"));
  for (const [name, schema] of Object.entries(root.components.schemas)) {
    page.append(showSchema(root, name, schema));
    contents.append(make("a", { href: `#schema-${name}` }, name));
  }
}

/** What a link points to is opened, and shown. */
function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target instanceof HTMLDetailsElement) target.open = true;
  target.scrollIntoView();
}

async function begin() {
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    show(await answer.json());
    openTarget();
  } catch (error) {
    document.getElementById("document").append(make("p", { class: "failure" }, `The API document cannot be shown: ${error.message}. Load the page again when the server is there.`));
  }
}

addEventListener("hashchange", openTarget);
begin();
