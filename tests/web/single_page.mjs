// node single_page.mjs PAGE: start the page, with a stand-in for the browser's document.
//
// Its modules print what they find.
import { readFileSync } from "node:fs";

const page = readFileSync(process.argv[2], "utf8");
const scripts = [...page.matchAll(/<script ([^>]*)>([^]*?)<\/script>/g)];
globalThis.document = {
  getElementById(id) {
    const [, , textContent] = scripts.find(([, attributes]) => attributes.includes(`id="${id}"`));
    return { textContent, remove() {} };
  },
};
const [, attributes, boot] = scripts.at(-1);
if (!attributes.includes('type="module"')) throw new Error(`the last script is ${attributes}`);
await import(`data:text/javascript,${encodeURIComponent(boot)}`);
