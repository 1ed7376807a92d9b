// The page's scripts: each looks for what it works on, and does nothing where that is not there.
import { access, signIn } from "./access.js";
import { filters, flips, copies, theme } from "./controls.js";
import { keepPage } from "./files.js";
import { runForm } from "./form.js";
import { importForm } from "./import.js";
import { follow, poll, runActions } from "./live.js";
import { log } from "./log.js";

theme();
filters();
copies();
flips();
poll();
runActions();
follow();
log();
keepPage();
runForm();
importForm();
access();
signIn();
