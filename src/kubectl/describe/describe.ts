/** The shape of a description: it writes an object onto a page, asking the server for what belongs to it. */
import type { AnyObject } from "../objects.ts";
import type { Page } from "./page.ts";

export type Describe = (page: Page, object: AnyObject) => Promise<void>;
