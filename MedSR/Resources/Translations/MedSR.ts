<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1">
    <context>
        <name>MedSR</name>
        <message>
            <source>Input:</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>The volume to make sharper. It is not changed.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Input volume</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>vtkMRMLScalarVolumeNode</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Output:</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Where the result goes. A volume that is chosen here is overwritten when the result is there; for one that MedSR did not make you are asked first.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Output volume</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>New volume</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Improve:</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>What is to become better. Greyed out is what no installed model does.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>What to improve</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Make every frame of the sequence sharper, into a new sequence that plays along.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>All frames of the sequence</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Fuse with:</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>For a subject that moves between slices, as a fetus does. Takes three times as long.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Follow the motion of every slice</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Install the PyTorch extension there and start Slicer again.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Open the Extensions Manager</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Enhance</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Preview one slice</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Preview</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Progress</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Verdict on the result</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>How the result stands to the scan. Details unfolds the report below.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Show the input and the result in turn, at the same place and in the same grey levels (Ctrl+Shift+B).</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Flicker between input and result</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Flicker</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>before</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Fade from the input to the result.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Fade from the input, 0, to the result, 100</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>after</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Take the latest result and what belongs to it out of the scene, and show what was shown before (Ctrl+Shift+U).</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Undo the latest enhancement</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Undo</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Not for primary diagnosis. Detail finer than the measurement is an estimate.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Trust</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Show the input, the result and what was added side by side, in linked views.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Compare side by side</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Show in the slice views what they showed before the result came.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Back to the views before</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Fidelity report</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Advanced</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Model:</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Model</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Device:</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Where the model runs. Kept for this computer, not in the scene.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Device</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Python:</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Empty for Slicer's own Python. Another one that has MedSR's packages can do the work, as on an Intel Mac. Kept for this computer, not in the scene.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Python that does the work, empty for Slicer's own</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Modality:</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>What the scanner measured. Automatic takes what DICOM says, else guesses from the grey levels and says so.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Modality</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Fidelity:</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>1 keeps to the measurement, 0 pleases the eye and invents more. Only for models that offer both.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Fidelity: 0 crisp, 1 faithful</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>crisp</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>faithful</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Noise:</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>1 agrees with the scan within its noise, 0 with every grain of it. Only for models that are told the noise.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Noise: 0 keep, 1 reduce</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>keep noise</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>reduce noise</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Point spread:</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>How the scanner blurs pixels. Estimated from the volume where nobody knows.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Point spread</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Its width:</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Full width at half maximum, in voxels of the input.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Width of the point spread in voxels</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Slice factor:</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>How many slices are made of each slice. Only for isotropic models.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Slices made of each slice</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>As thin as pixels are wide</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Region:</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Enhance only what lies in this box: less memory and time, the same result there.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Region</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>vtkMRMLMarkupsROINode</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Whole volume</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>A new box in the middle of what the slice views show. Drag its handles to fit it.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>New region</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>New</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Show or hide the box.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Show the region</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Show</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Make the box as large as the volume.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Fit the region to the volume</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Whole</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Correct the result until, measured again by the scanner's model, it gives the input back.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Agree with the measurement</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Scanned again, the result would give the input back.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Also make a volume that says where the model is unsure. Takes eight times as long.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Uncertainty map</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>A second volume says where the model is unsure; takes eight times as long.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>MedSR</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Open the module again</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Cancelling</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>The enhancement could not be started.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Nothing was installed, nothing was done</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Installing packages</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Starting</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Done: {name}</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Done: {name}, {where}</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Undone: {name}</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Cancelled: nothing was changed</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.about</name>
        <message>
            <source>&lt;p&gt;MedSR makes medical volumes sharper, in the right place and in the right units, and says how far to trust the result: choose a volume, choose what to improve, click Enhance. The input is never changed.&lt;/p&gt;&lt;p&gt;The first run installs PyTorch, with the help of the PyTorch extension, and a few small packages. After that no network is needed.&lt;/p&gt;&lt;p&gt;How to use it, what the report says, and its limits: &lt;a href='https://medsr.github.io/SlicerMedSR/howto/slicer/'&gt;documentation&lt;/a&gt;.&lt;/p&gt;&lt;p&gt;&lt;b&gt;Not for primary diagnosis.&lt;/b&gt; Detail finer than the measurement is an estimate.&lt;/p&gt;</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>The generator follows ESRGAN (Wang et al., 2018, arXiv:1809.00219) with PixelShuffle (Shi et al., 2016); the projection onto the measurement is iterative back-projection (Irani and Peleg, 1991). The sample volume comes from the NAC-HNCMA brain atlas (Surgical Planning Laboratory, Brigham and Women's Hospital).</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.advanced</name>
        <message>
            <source>Estimated</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Truncated k-space (MR)</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Known width</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Not with all frames of a sequence: choose one frame for it.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>A second volume says where the model is unsure; takes eight times as long.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>How the scanner blurs pixels. Estimated from the volume where nobody knows.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>How thick slices are: their width is that over their spacing. Used where the volume does not say it.</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.assessment</name>
        <message>
            <source>The input is a result of MedSR: estimates would be taken for a scan.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>All frames of a sequence go into a new sequence.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Where the result goes. One that MedSR did not make is overwritten only after asking.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Enhance will first install: {packages}</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>PyTorch is missing: install the PyTorch extension from the Extensions Manager, and start again</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>{n} frames of {each}</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>No model for this is installed: choose another one, or another improvement</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.background</name>
        <message>
            <source>The result could not be put into the scene: {problem}</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.choosers</name>
        <message>
            <source>No model for this is installed yet</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Automatic</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>{model} (not for this)</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Another model for the same improvement, your own among them.</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.fusion</name>
        <message>
            <source>Fuse with:</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>There is no other volume to fuse it with.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>{name}: {size} mm</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.fusion_verdict</name>
        <message>
            <source>agrees with all {n} series to {misfit} %</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>departs from a series by {misfit} %</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>no warnings</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>1 warning</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>{n} warnings</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Details</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Warning</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Model</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>none</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>moved {degrees} degrees and {millimetres} mm, disagreement {misfit} % of the range, gain {gain}</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Slices that count less</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Measured by {n} series</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Computed in</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Note</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.improvement</name>
        <message>
            <source>Sharper slices x2</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Sharper slices x4</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Isotropic from thick slices</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Volumetric x2</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Fuse series</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Each slice gets twice the pixels in both directions; the slices stay as they are.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Each slice gets four times the pixels in both directions; the slices stay as they are.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>New slices between the slices, until voxels are as thin as they are wide.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Twice the voxels in all three directions, for small structures in 3D.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Thick axial, sagittal and coronal series of one contrast become one isotropic volume.</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.interpreter</name>
        <message>
            <source>The Python that is named under Advanced lacks packages: run "{python}" -m pip install {names}</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.modality</name>
        <message>
            <source>Automatic</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>CT</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>MR</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Ultrasound</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>X-ray</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.overwriting</name>
        <message>
            <source>'{name}' was not made by MedSR. Its voxels will be replaced in the scene; the file that it may have come from stays as it is. Replace them?</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.regions</name>
        <message>
            <source>The region cannot be drawn.</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.run_controls</name>
        <message>
            <source>Cancel</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Enhance</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Make the volume sharper; the input is not changed (Ctrl+Shift+E)</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Stop; nothing is left behind (Ctrl+Shift+E)</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>{what}, about {time} left</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.slice_preview</name>
        <message>
            <source>This model needs the whole stack of slices for every pixel: there is no preview of one slice</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Fused volumes are made of all series at once: there is no preview of one slice</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>The first Enhance installs what is needed; after that there is a preview</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Show what the view of the slices will look like, before the volume is computed: fade with the slider below (Ctrl+Shift+P)</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>There is no preview.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Preview: {what}</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Preview: the view looks beside the volume</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Preview: starting</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Preview: {n} of {all} tiles</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Preview in {view}: fade with the slider, scroll to see other slices</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.trust</name>
        <message>
            <source>The volumes cannot be compared.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>The views cannot be restored.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>No result yet.</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>shown beside its input</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>not shown, as no slice view is open</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>shown in {views}</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Input</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>MedSR result</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Added detail</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Uncertainty</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.undoing</name>
        <message>
            <source>The result could not be taken back.</source>
            <translation type="unfinished" />
        </message>
    </context>
    <context>
        <name>panel.verdict</name>
        <message>
            <source>agrees with the scan to {misfit} %</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>departs from the scan by {misfit} %</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>edges {gain} % steeper</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>edges no steeper</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>no warnings</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>1 warning</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>{n} warnings</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Details</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>{x} % of the grey-level range</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Warning</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Model</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Input taken as</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Disagreement with the input</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>What was taken off</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Shift of the mean</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Edges</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>{gain} times as steep</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Detail added</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>{rms} grey levels (root mean square)</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Computed in</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Uncertain voxels</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Frames</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>{n}; the figures above are the worst of all</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>disagreement {x} %, edges {gain} times as steep</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Frame {name}</source>
            <translation type="unfinished" />
        </message>
        <message>
            <source>Note</source>
            <translation type="unfinished" />
        </message>
    </context>
</TS>
